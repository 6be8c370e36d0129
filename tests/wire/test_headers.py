"""Builders of headers: the entries of the transport tier, and their order."""

from ably_ai_transport.wire.headers import (
    build_cancel_headers,
    build_run_headers,
    build_step_headers,
    build_transport_headers,
)


def test_an_output_of_a_step_has_its_headers_in_javascripts_order() -> None:
    headers = build_transport_headers(
        step_client_id="c3",
        step_start_serial="s1",
        step_id="i1-step-0",
        input_event_id="e1",
        input_codec_message_id="m0",
        input_client_id="c2",
        invocation_id="i1",
        supersedes="r0",
        regenerates="m9",
        fork_of="m8",
        parent="m7",
        run_client_id="c1",
        run_id="r1",
        codec_message_id="m1",
        role="assistant",
    )
    assert list(headers.items()) == [
        ("role", "assistant"),
        ("codec-message-id", "m1"),
        ("run-id", "r1"),
        ("run-client-id", "c1"),
        ("parent", "m7"),
        ("fork-of", "m8"),
        ("msg-regenerate", "m9"),
        ("supersedes", "r0"),
        ("invocation-id", "i1"),
        ("input-client-id", "c2"),
        ("input-codec-message-id", "m0"),
        ("event-id", "e1"),
        ("step-id", "i1-step-0"),
        ("step-start-serial", "s1"),
        ("step-client-id", "c3"),
    ]


def test_what_is_not_known_is_left_off() -> None:
    assert build_transport_headers(role="user", codec_message_id="m1") == {
        "role": "user",
        "codec-message-id": "m1",
    }


def test_an_empty_reference_is_left_off_but_an_empty_client_is_not() -> None:
    headers = build_transport_headers(
        role="user",
        codec_message_id="m1",
        run_client_id="",
        input_client_id="",
        step_client_id="",
        parent="",
        fork_of="",
        regenerates="",
        supersedes="",
        invocation_id="",
        input_event_id="",
    )
    assert headers == {
        "role": "user",
        "codec-message-id": "m1",
        "run-client-id": "",
        "input-client-id": "",
        "step-client-id": "",
    }


def test_the_headers_of_a_run() -> None:
    assert list(
        build_run_headers(
            run_id="r1",
            run_client_id="",
            parent="m7",
            fork_of="m8",
            regenerates="m9",
            invocation_id="i1",
            input_client_id="c2",
            input_codec_message_id="m0",
        ).items()
    ) == [
        ("run-id", "r1"),
        ("run-client-id", ""),
        ("parent", "m7"),
        ("fork-of", "m8"),
        ("msg-regenerate", "m9"),
        ("invocation-id", "i1"),
        ("input-client-id", "c2"),
        ("input-codec-message-id", "m0"),
    ]


def test_the_headers_of_a_failed_run() -> None:
    headers = build_run_headers(
        run_id="r1", run_client_id="c1", reason="error", error_code=104008, error_message="model is away"
    )
    assert headers == {
        "run-id": "r1",
        "run-client-id": "c1",
        "run-reason": "error",
        "error-code": "104008",
        "error-message": "model is away",
    }


def test_the_headers_of_a_step() -> None:
    headers = build_step_headers(
        run_id="r1",
        step_id="i1-step-0",
        step_start_serial="s1",
        invocation_id="i1",
        run_client_id="c1",
        input_client_id="c2",
        step_client_id="c3",
        reason="failed",
    )
    assert list(headers.items()) == [
        ("run-id", "r1"),
        ("step-id", "i1-step-0"),
        ("step-start-serial", "s1"),
        ("invocation-id", "i1"),
        ("run-client-id", "c1"),
        ("input-client-id", "c2"),
        ("step-client-id", "c3"),
        ("step-reason", "failed"),
    ]
    assert build_step_headers(run_id="r1", step_id="x") == {"run-id": "r1", "step-id": "x"}


def test_the_headers_of_a_cancel_request() -> None:
    assert build_cancel_headers(event_id="e1", run_id="r1") == {"event-id": "e1", "run-id": "r1"}
    assert build_cancel_headers(event_id="e1", input_codec_message_id="m0") == {
        "event-id": "e1",
        "input-codec-message-id": "m0",
    }
