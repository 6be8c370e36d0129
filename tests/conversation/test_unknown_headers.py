"""Unknown values of headers: each is read as the least that it can mean, and breaks nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.conversation import TERMINAL, Navigable, RunNode, ViewState
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import InboundMessage, OutboundMessage, names
from ably_ai_transport.wire.headers import build_run_headers, build_step_headers
from ably_ai_transport.wire.messages import ai_extras
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.conversation.test_generated import shuffled
from tests.session.stage import CODEC, NAME, client, said

HEADERS: Sequence[str] = sorted(
    value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and not value.startswith("ai-")
)
"""Every header of the transport tier."""

WORDS: Sequence[str] = (
    "",
    "true",
    "false",
    "streaming",
    "complete",
    "cancelled",
    "1e999",
    "[" * 20_000,
    "[1]",
)
talks = st.randoms(use_true_random=False).map(generate)
values = st.text(max_size=8) | st.sampled_from(WORDS)


def test_all_headers_are_tried() -> None:
    assert len(HEADERS) == 25
    assert {"run-id", "step-reason", "status", "steer-codec-message-ids"} <= set(HEADERS)


def altered(message: InboundMessage, header: str, value: str) -> InboundMessage:
    headers = {**message.transport_headers, header: value}
    return replace(message, extras=ai_extras(headers, message.codec_headers))


def contents(reader: Reader) -> Mapping[str, Sequence[object]]:
    """Return all that can be read of each message."""
    found: dict[str, list[object]] = {}
    for node in reader.tree.index:
        for message in CODEC.get_messages(node.projection):
            found.setdefault(message.codec_message_id, []).append(message.message)
    return found


def run_end(run_id: str, serial: str) -> InboundMessage:
    extras = ai_extras({names.RUN_ID: run_id, names.RUN_REASON: "complete"})
    return InboundMessage(name=names.RUN_END, serial=serial, version=serial, extras=extras)


def concerned(talk: Talk, message: InboundMessage) -> set[str]:
    """Return the messages that a delivery says something about: its own, and those of its run or step."""
    headers = message.transport_headers
    own = {headers.get(names.CODEC_MESSAGE_ID, "")}
    if message.name in (names.AI_INPUT, names.AI_OUTPUT):
        return own
    run_id = headers.get(names.RUN_ID)
    return own.union(*(run.messages for run in talk.runs if run.run_id == run_id))


@settings(max_examples=300, deadline=None)
@given(talks, st.data(), st.sampled_from(HEADERS), values, st.randoms(use_true_random=False))
def test_an_unknown_value_breaks_nothing_else(
    talk: Talk, data: st.DataObject, header: str, value: str, random: Random
) -> None:
    strange = data.draw(st.sampled_from(talk.live), "strange")
    each_version = data.draw(st.booleans(), "on each version")
    live = [
        altered(message, header, value)
        if message is strange or (each_version and message.serial == strange.serial)
        else message
        for message in talk.live
    ]
    if data.draw(st.booleans(), "in any order"):
        live = shuffled(live, random)
    reader = Reader()
    view = ViewState(reader.tree, Navigable(reader.tree))
    for message in live:
        for event in reader.tree.apply(message):
            view.handle(event, from_history=False)
    assert len({message.codec_message_id for message in view.messages}) <= len(view.messages)

    expected, found = contents(Reader().read(talk.live)), contents(reader)
    for message_id in set(expected) - concerned(talk, strange):
        assert found.get(message_id) == expected[message_id], message_id

    assert_all_runs_can_end(reader)


def assert_all_runs_can_end(reader: Reader) -> None:
    run_ids = [node.run_id for node in reader.tree.index if isinstance(node, RunNode)]
    # No lifecycle message can name the empty id, here or in the npm package; its outputs are still shown.
    for i, run_id in enumerate(filter(None, run_ids)):
        reader.tree.apply(run_end(run_id, f"{9_000_000 + i:014d}-000@talk:000"))
        node = reader.tree.get_run_node(run_id)
        assert node is not None
        assert node.status in TERMINAL


@pytest.mark.parametrize("header", HEADERS)
def test_each_header_may_say_anything_on_every_message(header: str) -> None:
    talk = generate(Random(7), turns=30)  # noqa: S311
    for value in (*WORDS, "m1", "r2"):
        reader = Reader().read(altered(message, header, value) for message in talk.live)
        assert isinstance(reader.shows(), tuple)
        assert_all_runs_can_end(reader)


@pytest.mark.parametrize("reason", ["", "timed-out", "Complete", "active"])
async def test_a_run_that_ends_for_an_unknown_reason_has_ended(reason: str) -> None:
    hub = MemoryHub()
    errors: list[object] = []
    async with client(hub) as alice:
        alice.on_error(errors.append)
        run = await alice.view.send(said("hi"))
        trigger = run.input_codec_message_id
        channel = hub.client("agent").open_channel(NAME)
        await channel.attach()

        async def put(name: str, headers: Mapping[str, str]) -> str:
            [serial] = await channel.publish([OutboundMessage(name, extras=ai_extras({**headers}))])
            assert serial is not None
            return serial

        run_headers = build_run_headers(
            run_id="r", run_client_id="alice", parent=trigger, input_codec_message_id=trigger
        )
        step_headers = build_step_headers(run_id="r", step_id="s")
        await put(names.RUN_START, run_headers)
        start = await put(names.STEP_START, step_headers)
        attempt = {names.STEP_START_SERIAL: start, names.STEP_REASON: reason}
        await put(names.STEP_END, {**step_headers, **attempt})
        await put(names.RUN_END, {**run_headers, names.RUN_REASON: reason})

        with anyio.fail_after(5):
            assert await run.ended == "cancelled"
        async with client(hub, "bob") as bob:
            bob.on_error(errors.append)
            await bob.view.load_all()
            for session in (alice, bob):
                info = session.view.run("r")
                assert info is not None
                assert [step.status for step in info.steps] == ["failed"]
                assert info.status == "cancelled"
        channel.release()
    assert errors == []
