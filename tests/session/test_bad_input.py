"""Bad messages and failing callbacks are reported or ignored, and the session goes on."""

import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport import AITransportError, InboundMessage, Invocation, MessageAction, RunHooks
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", b"\xff", {}, {"sessionName": "s"}, {"inputEventId": "", "sessionName": "s"}, 5],
)
def test_an_invocation_that_is_none(body: object) -> None:
    with pytest.raises(AITransportError) as caught:
        Invocation.from_json(body)
    assert caught.value.code == 40000
    assert caught.value.message.startswith("unable to read invocation; ")


def _message(name: str | None, transport: object, **more: object) -> InboundMessage:
    serial = str(more.pop("serial", "99999999999999-000@x:000"))
    extras = {"ai": {"transport": transport, "codec": more.pop("codec", {})}}
    return InboundMessage(name=name, serial=serial, version=serial, extras=extras, **more)  # pyright: ignore[reportArgumentType]


FOREIGN = [
    InboundMessage(name="chat.message", data="hello", serial="99999999999999-000@x:000"),
    InboundMessage(MessageAction.APPEND, data="more", serial="99999999999999-000@x:000", version="9"),
    InboundMessage(name="ai-output", data="x"),
    InboundMessage(name="ai-output", data={"a": 1}, serial="99999999999999-000@x:000", extras="nonsense"),
    InboundMessage(name="ai-output", serial="99999999999999-000@x:000", extras={"ai": {"transport": []}}),
    _message("ai-run-start", {}),
    _message("ai-run-end", {"run-id": "unknown", "run-reason": "error", "error-code": "NaN"}),
    _message("ai-step-end", {"run-id": "unknown", "step-id": "s"}),
    _message("ai-step-start", {"run-id": 7, "step-id": None}),
    _message("ai-cancel", {}),
    _message("ai-output", {"run-id": "r", "stream": "true"}, data=7, codec={"kind": "text"}),
    _message("ai-output", {"run-id": "r"}, codec={"kind": "no-such-kind"}),
    _message("ai-input", {"role": "user", "codec-message-id": "m"}, codec={"kind": "no-such-kind"}),
    _message("ai-output", {"run-id": "r", "steer-codec-message-ids": "{"}, codec={"kind": "start"}),
]


@pytest.mark.parametrize("message", FOREIGN, ids=range(len(FOREIGN)))
async def test_what_is_not_of_the_session_changes_nothing(hub: MemoryHub, message: InboundMessage) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        await hub.settle()
        hub.inject(NAME, message)
        await hub.settle()
        await answer(hub, session, run.to_invocation(), "still here")
        assert texts(m for m in alice.view.messages if m.message["parts"]) == ["hi", "still here"]
        assert await run.ended == "complete"


async def test_an_output_that_the_codec_does_not_know(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            result = await work.pipe(stream([*reply("before")[:4], {"type": "no-such-kind"}]))  # pyright: ignore[reportArgumentType]
            assert isinstance(result.error, AITransportError)
            assert result.error.code == 40003
            assert "no-such-kind" in result.error.message
        assert await run.ended == "error"
        await answer(hub, session, (await alice.view.send(said("again"))).to_invocation(), "fine")
        assert texts(alice.view.messages)[-1] == "fine"


async def test_a_message_above_the_size_limit(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        with pytest.raises(AITransportError) as caught:
            await alice.view.send(said("x" * 70_000))
        assert isinstance(caught.value.cause, AITransportError)
        assert caught.value.cause.code == 40009
        assert alice.view.messages == []
        await alice.view.send(said("short"))
        assert texts(alice.view.messages) == ["short"]


async def test_a_token_above_the_size_limit_is_split(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        await answer(hub, session, run.to_invocation(), "ä" * 70_000)
        assert texts(alice.view.messages)[1] == "ä" * 70_000


@pytest.mark.parametrize("inputs", [[], [said("one"), said("two")], ["no input"], [None]], ids=range(4))
async def test_inputs_that_cannot_be_sent(hub: MemoryHub, inputs: list[object]) -> None:
    async with client(hub) as alice:
        with pytest.raises(AITransportError) as caught:
            await alice.view.send(inputs)  # pyright: ignore[reportArgumentType]
        assert caught.value.code == 40003
        await hub.settle()
        assert hub.messages(NAME) == []


async def test_callbacks_that_raise(hub: MemoryHub) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    async with client(hub) as alice, agent(hub) as session:
        reported: list[AITransportError] = []
        alice.on_error(broken)
        alice.on_error(reported.append)
        alice.view.on_update(broken)
        alice.view.on_run(broken)
        alice.tree.on_output(broken)
        alice.tree.on_message(broken)
        run = await alice.view.send(said("hi"))
        await answer(hub, session, run.to_invocation(), "fine")
        assert await run.ended == "complete"
        assert texts(alice.view.messages) == ["hi", "fine"]
        assert {error.code for error in reported} == {104001}


async def test_hooks_that_raise(hub: MemoryHub) -> None:
    async def refuse(_: object) -> bool:
        raise RuntimeError("broken")

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    async with client(hub) as alice, agent(hub) as session:
        reported: list[AITransportError] = []
        session.on_error(reported.append)
        run = await alice.view.send(said("hi"))
        hooks: RunHooks[UIMessageChunk] = RunHooks(on_cancel=refuse, on_message=broken, on_error=broken)
        async with session.create_run(run.to_invocation(), hooks=hooks) as work:
            await run.cancel()
            await hub.settle()
            assert not work.abort_signal.aborted
            assert (await work.pipe(stream(reply("fine")))).reason == "complete"
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "fine"]
        assert [error.code for error in reported] == [104002]


async def test_before_connect_and_after_close(hub: MemoryHub) -> None:
    alice = client(hub)
    with pytest.raises(AITransportError) as caught:
        await alice.view.send(said("hi"))
    assert caught.value.code == 40003
    await alice.connect()
    await alice.connect()
    run = await alice.view.send(said("hi"))
    await alice.close()
    await alice.close()
    for awaited in (run.started, run.ended):
        with pytest.raises(AITransportError) as caught:
            await awaited
        assert caught.value.code == 104004
    for again in (alice.connect, run.cancel):
        with pytest.raises(AITransportError) as caught:
            await again()
        assert caught.value.code == 104004
    with pytest.raises(AITransportError) as caught:
        await alice.view.send(said("late"))
    assert caught.value.code == 104004


async def test_connecting_again_after_a_refusal(hub: MemoryHub) -> None:
    hub.faults.refuse_attach()
    alice = client(hub)
    reported: list[AITransportError] = []
    alice.on_error(reported.append)
    with pytest.raises(AITransportError) as caught:
        await alice.connect()
    assert caught.value.code == 104001
    assert [error.code for error in reported] == [104001]
    with pytest.raises(AITransportError):
        await alice.view.send(said("hi"))
    await alice.connect()
    await alice.view.send(said("hi"))
    await alice.close()


async def test_messages_that_may_have_been_missed(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        for side in (alice, session):
            codes: list[int] = []
            side.on_error(lambda error, codes=codes: codes.append(error.code))
            hub.faults.drop_continuity(client_id="alice" if side is alice else "agent")
            await hub.settle()
            assert codes == [104006]
        run = await alice.view.send(said("hi"))
        await answer(hub, session, run.to_invocation(), "still here")
        assert texts(alice.view.messages) == ["hi", "still here"]


async def test_a_history_that_cannot_be_read(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        await alice.view.send(said("hi"))
    async with client(hub, "bob") as bob:
        hub.faults.fail_history(count=1)
        assert texts(await bob.view.load_all()) == ["hi"]


def test_the_codec_refuses_what_is_no_message() -> None:
    with pytest.raises(AITransportError) as caught:
        CODEC.create_user_message({"id": "u", "role": "user", "parts": "text"})  # pyright: ignore[reportArgumentType]
    assert caught.value.code == 40003


async def test_half_a_character_and_nan_do_not_end_a_run(hub: MemoryHub) -> None:
    chunks: list[UIMessageChunk] = [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "Hi \ud83d"},
        {"type": "text-delta", "id": "t", "delta": "\ude00!\ud83d"},
        {"type": "text-end", "id": "t"},
        {"type": "data-x", "data": {"n": float("nan"), "text": "\ud83d"}},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            result = await run.pipe(stream(chunks))
            assert result.reason == "complete"
        await hub.settle()
        assert await asked.ended == "complete"
        parts = alice.view.messages[-1].message["parts"]
        assert parts[1:] == [
            {"type": "text", "text": "Hi 😀!\ufffd"},
            {"type": "data-x", "data": {"n": None, "text": "\ufffd"}},
        ]
