"""Values larger than a message, between sessions on a channel in memory."""

import base64
import json
from typing import cast

import anyio
import pytest
from ably_ai_transport_vercel import (
    SeedMessage,
    UIAgentSession,
    UIClientSession,
    UIMessageChunk,
    UIMessagePart,
    VercelInput,
    text_message,
)

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ClientSession,
    InboundMessage,
    InvalidArgumentError,
    RunHooks,
)
from ably_ai_transport.payloads import DirectoryPayloads, PayloadStore, payload_prefix
from ably_ai_transport.testing import MemoryHub
from tests.payloads.stores import MemoryPayloads
from tests.session.stage import CODEC, NAME, said, stream, texts

ROWS = [{"city": "Lisboa", "note": "ção " * 20, "n": index, "share": 0.5} for index in range(1000)]
IMAGE = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 400).decode()
LONG = "Once upon a time. " * 6000


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def store() -> MemoryPayloads:
    return MemoryPayloads()


def client(hub: MemoryHub, client_id: str, store: PayloadStore | None) -> UIClientSession:
    client = hub.client(client_id)
    if store is None:
        return ClientSession(client, NAME, codec=CODEC)
    return ClientSession(client, NAME, codec=CODEC, payloads=store)


def agent(hub: MemoryHub, store: PayloadStore | None, client_id: str = "agent") -> UIAgentSession:
    if store is None:
        return AgentSession(hub.client(client_id), NAME, codec=CODEC)
    return AgentSession(hub.client(client_id), NAME, codec=CODEC, payloads=store)


def tool_reply(output: object) -> list[UIMessageChunk]:
    return [
        {"type": "start"},
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "rows", "input": {"limit": 1000}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": output},
        {"type": "finish"},
    ]


async def reply(
    hub: MemoryHub, alice: UIClientSession, serving: UIAgentSession, chunks: list[UIMessageChunk]
) -> None:
    """Ask, and answer with chunks."""
    asked = await alice.view.send(said("hi"))
    async with serving.create_run(asked.to_invocation()) as run:
        await run.pipe(stream(chunks), raise_on_error=True)
    await hub.settle()


def part(session: UIClientSession, kind: str) -> UIMessagePart:
    """Return the part of a type in the newest message."""
    return next(part for part in session.view.messages[-1].message["parts"] if part["type"] == kind)


def reference_in(session: UIClientSession) -> dict[str, object]:
    """Return the output of the tool call in the newest message, which is a reference."""
    output = part(session, "tool-rows").get("output")
    assert isinstance(output, dict)
    return cast("dict[str, object]", output)


async def shown(session: UIClientSession, kind: str, key: str, value: object) -> None:
    """Wait until a session shows a value."""
    with anyio.fail_after(5):
        async for messages in session.view.updates():
            if messages and any(
                p.get(key) == value for p in messages[-1].message["parts"] if p["type"] == kind
            ):
                return


CHUNKS: list[tuple[UIMessageChunk, str, str, object]] = [
    ({"type": "tool-output-available", "toolCallId": "c1", "output": ROWS}, "tool-rows", "output", ROWS),
    ({"type": "tool-output-available", "toolCallId": "c1", "output": LONG}, "tool-rows", "output", LONG),
    ({"type": "tool-output-error", "toolCallId": "c1", "errorText": LONG}, "tool-rows", "errorText", LONG),
    ({"type": "data-table", "data": ROWS}, "data-table", "data", ROWS),
    ({"type": "data-table", "id": "t", "data": {"rows": ROWS}}, "data-table", "data", {"rows": ROWS}),
    ({"type": "file", "mediaType": "image/png", "url": IMAGE}, "file", "url", IMAGE),
    (
        {"type": "tool-input-available", "toolCallId": "c1", "toolName": "rows", "input": {"rows": ROWS}},
        "tool-rows",
        "input",
        {"rows": ROWS},
    ),
]


@pytest.mark.parametrize(
    ("chunk", "kind", "key", "value"), CHUNKS, ids=[f"{c[0]['type']}-{i}" for i, c in enumerate(CHUNKS)]
)
async def test_a_reply_arrives_whole_live_late_and_with_its_publisher(
    hub: MemoryHub, store: MemoryPayloads, chunk: UIMessageChunk, kind: str, key: str, value: object
) -> None:
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        call = tool_reply("small")[:2] if kind == "tool-rows" and key != "input" else [{"type": "start"}]
        chunks: list[UIMessageChunk] = [*call, chunk, {"type": "finish"}]  # pyright: ignore[reportAssignmentType]
        await reply(hub, alice, serving, chunks)
        await shown(alice, kind, key, value)
        assert serving.tree.nodes
        async with client(hub, "bob", store) as bob:
            await bob.view.load_all()
            assert part(bob, kind).get(key) == value
            assert bob.view.messages == alice.view.messages
    assert len(store.objects) == 1


PARTS: list[tuple[UIMessagePart, str]] = [
    ({"type": "file", "mediaType": "image/png", "url": IMAGE}, "url"),
    ({"type": "data-table", "data": ROWS}, "data"),
    ({"type": "text", "text": LONG}, "text"),
]


@pytest.mark.parametrize(("large", "key"), PARTS, ids=[key for _, key in PARTS])
async def test_a_question_arrives_whole(
    hub: MemoryHub, store: MemoryPayloads, large: UIMessagePart, key: str
) -> None:
    async with client(hub, "alice", store) as alice, client(hub, "bob", store) as bob:
        message = text_message("look", parts=[large])
        asked = await alice.view.send(CODEC.create_user_message(message))
        async with agent(hub, store) as serving, serving.create_run(asked.to_invocation()) as run:
            # Without a load: the run starts when the question is there as it was asked.
            assert run.view.messages[-1].message == message
            assert [one.message for one in await run.view.load_all()] == [message]
        await shown(bob, large["type"], key, large.get(key))
        await hub.settle()
        # The sender's own view never shows a reference.
        assert alice.view.messages[-1].message["parts"] == message["parts"]


async def test_the_sender_shows_the_original_all_the_time(hub: MemoryHub, store: MemoryPayloads) -> None:
    async with client(hub, "alice", store) as alice:
        seen: list[list[UIMessagePart]] = []
        alice.view.on_update(lambda: seen.append(alice.view.messages[-1].message["parts"]))
        message = text_message("look", parts=[{"type": "file", "mediaType": "image/png", "url": IMAGE}])
        await alice.view.send(CODEC.create_user_message(message))
        await hub.settle()
        assert len(seen) >= 2
        assert all(part.get("url", IMAGE) == IMAGE for parts in seen for part in parts)
        assert store.gets == []


async def test_only_the_largest_values_leave_the_message(hub: MemoryHub, store: MemoryPayloads) -> None:
    middle = "m" * 20_000
    parts: list[UIMessagePart] = [
        {"type": "data-a", "data": "a" * 30_000},
        {"type": "data-b", "data": "b" * 50_000},
        {"type": "data-c", "data": "c" * 40_000},
    ]
    async with client(hub, "alice", store) as alice, client(hub, "bob", None) as bob:
        await alice.view.send(CODEC.create_user_message(text_message(middle, parts=parts)))
        await hub.settle()
        first, *rest = bob.view.messages[-1].message["parts"]
        assert first.get("text") == middle
        assert [str(part.get("data"))[:8] for part in rest] == ["aaaaaaaa", "https://", "https://"]
    assert len(store.objects) == 2


async def test_a_reader_without_a_store_gets_well_formed_parts(hub: MemoryHub, store: MemoryPayloads) -> None:
    async with client(hub, "alice", None) as alice, agent(hub, store) as serving:
        file: UIMessageChunk = {"type": "file", "mediaType": "image/png", "url": IMAGE}
        await reply(hub, alice, serving, [*tool_reply(ROWS)[:-1], file, {"type": "finish"}])
        output = reference_in(alice)
        assert output.keys() == {"$payload", "size", "mediaType"}
        assert output["mediaType"] == "application/json"
        key = str(output["$payload"]).removeprefix("https://payloads.example/")
        assert json.loads(store.objects[key][0]) == ROWS
        assert output["size"] == len(store.objects[key][0])
        url = str(part(alice, "file").get("url"))
        assert url.endswith(".png")
        # A browser that follows the URL gets the picture itself.
        assert store.objects[url.removeprefix("https://payloads.example/")] == (
            bytes(range(256)) * 400,
            "image/png",
        )


async def test_small_values_stay_in_their_messages(hub: MemoryHub, store: MemoryPayloads) -> None:
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply({"rows": 3}))
        assert part(alice, "tool-rows").get("output") == {"rows": 3}
    assert store.puts == []


async def test_the_same_value_is_kept_once(hub: MemoryHub, store: MemoryPayloads) -> None:
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        asked = await alice.view.send(said("hi"))
        async with serving.create_run(asked.to_invocation()) as run:
            for _ in range(2):  # two attempts of one step
                async with run.create_step(step_id="tool") as step:
                    await step.pipe(stream(tool_reply(ROWS)))
        await hub.settle()
        await shown(alice, "tool-rows", "output", ROWS)
    assert len(store.puts) == 2
    assert len(store.objects) == 1


async def test_hooks_see_a_message_once_with_its_value(hub: MemoryHub, store: MemoryPayloads) -> None:
    seen: list[object] = []
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        asked = await alice.view.send(said("hi"))
        hooks = RunHooks[UIMessageChunk](on_message=lambda message: seen.append(message.data))
        async with serving.create_run(asked.to_invocation(), hooks=hooks) as run:
            await run.pipe(stream(tool_reply(ROWS)), raise_on_error=True)
        await hub.settle()
        await shown(alice, "tool-rows", "output", ROWS)
    assert seen.count({"output": ROWS}) == 1
    assert len(seen) == 4


async def test_the_published_event_is_not_changed(hub: MemoryHub, store: MemoryPayloads) -> None:
    table = {"rows": ROWS}
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, [{"type": "start"}, {"type": "data-table", "data": table}])
    assert table == {"rows": ROWS}


async def test_the_messages_that_a_fork_repeats(hub: MemoryHub, store: MemoryPayloads) -> None:
    """A client's answer may carry the messages of the run that it forks from, with their large outputs."""
    call: UIMessagePart = {
        "type": "tool-rows",
        "toolCallId": "c1",
        "state": "output-available",
        "output": ROWS,
    }
    repeated: SeedMessage = {
        "codecMessageId": "m1",
        "message": {"id": "m1", "role": "assistant", "parts": [call]},
    }
    answer = CODEC.create_tool_result(
        "m1", {"toolCallId": "c2", "output": "fine", "forkSeed": {"messages": [repeated]}}
    )
    async with client(hub, "alice", store) as alice:
        await alice.view.send([said("hi"), answer])
        await hub.settle()
    published = json.dumps([message.data for message in hub.messages(NAME)])
    assert '"output": {"$payload": "https://payloads.example/' in published
    assert '"type": "tool-rows"' in published
    async with client(hub, "bob", store) as bob:
        read: list[VercelInput] = []
        bob.tree.on_output(lambda folded: read.extend(folded.inputs))
        await bob.view.load_all()
        assert answer in read


# Late values


async def test_the_reference_shows_until_the_value_is_there(hub: MemoryHub, store: MemoryPayloads) -> None:
    store.gate = anyio.Event()
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        assert "$payload" in reference_in(alice)
        store.gate.set()
        await shown(alice, "tool-rows", "output", ROWS)


async def test_a_load_waits_for_values_that_are_on_their_way(hub: MemoryHub, store: MemoryPayloads) -> None:
    store.gate = anyio.Event()
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        loaded: list[object] = []
        async with anyio.create_task_group() as tasks:

            async def load() -> None:
                await alice.view.load_all()
                loaded.append(part(alice, "tool-rows").get("output"))

            tasks.start_soon(load)
            await anyio.wait_all_tasks_blocked()
            assert loaded == []
            store.gate.set()
        assert loaded == [ROWS]


async def test_a_run_starts_when_its_question_is_there(hub: MemoryHub, store: MemoryPayloads) -> None:
    store.gate = anyio.Event()
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        asked = await alice.view.send(said(LONG))
        await hub.settle()
        seen: list[list[str]] = []

        async def serve() -> None:
            async with serving.create_run(asked.to_invocation()) as run:
                seen.append(texts(run.view.messages))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            store.gate.set()
        assert seen == [[LONG]]


# Failures


async def test_without_a_store_the_error_says_what_to_do(hub: MemoryHub) -> None:
    async with client(hub, "alice", None) as alice, agent(hub, None) as serving:
        with pytest.raises(AITransportError) as refused:
            await reply(hub, alice, serving, tool_reply(ROWS))
    assert refused.value.code == 40009
    assert "the limit is 65536" in refused.value.message
    assert "payloads=" in refused.value.message


async def test_a_value_that_cannot_be_moved(hub: MemoryHub, store: MemoryPayloads) -> None:
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        chunk: UIMessageChunk = {"type": "error", "errorText": LONG}
        with pytest.raises(AITransportError) as refused:
            await reply(hub, alice, serving, [{"type": "start"}, chunk])
    assert refused.value.code == 40009
    assert "publish less at once" in refused.value.message
    assert store.puts == []


async def test_a_store_that_fails_to_put(hub: MemoryHub, store: MemoryPayloads) -> None:
    store.failure = ConnectionError("secret host")
    async with client(hub, "alice", store) as alice:
        with pytest.raises(AITransportError) as failed:
            await alice.view.send(said(LONG))
        assert "unable to store payload of" in failed.value.message
        assert "secret" not in failed.value.message
        assert alice.view.messages == []
        store.failure = None
        await alice.view.send(said(LONG))
        await hub.settle()
        assert texts(alice.view.messages) == [LONG]


async def test_a_store_that_fails_to_get_is_asked_again(hub: MemoryHub, store: MemoryPayloads) -> None:
    reported: list[AITransportError] = []
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        store.failure = ConnectionError("away")
        async with client(hub, "bob", store) as bob:
            bob.on_error(reported.append)
            await bob.view.load_all()
            assert "$payload" in reference_in(bob)
            assert {error.code for error in reported} == {50000}
            assert "ConnectionError" in reported[0].message
            store.failure = None
            await bob.view.load_all()
            assert part(bob, "tool-rows").get("output") == ROWS


async def test_a_payload_that_was_deleted_is_reported_once(hub: MemoryHub, store: MemoryPayloads) -> None:
    reported: list[AITransportError] = []
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        store.objects.clear()
        async with client(hub, "bob", store) as bob:
            bob.on_error(reported.append)
            for _ in range(3):
                await bob.view.load_all()
            assert texts(bob.view.messages)[0] == "hi"
    [error] = reported
    assert "was it deleted" in error.message


async def test_a_payload_that_was_changed_is_refused(hub: MemoryHub, store: MemoryPayloads) -> None:
    reported: list[AITransportError] = []
    async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        [key] = store.objects
        store.objects[key] = (b'["evil"]', "application/json")
        async with client(hub, "bob", store) as bob:
            bob.on_error(reported.append)
            await bob.view.load_all()
            assert part(bob, "tool-rows").get("output") != ["evil"]
    assert "was changed" in reported[0].message


def forged(references: object, data: object = None) -> InboundMessage:
    """Return a message of a stranger with a header of his own making."""
    header = references if isinstance(references, str) else json.dumps(references)
    transport = {"role": "user", "codec-message-id": "m", "stream": "false", "stored-payloads": header}
    extras = {"ai": {"transport": transport, "codec": {"kind": "user-message", "partType": "text"}}}
    serial = "99999999999999-000@x:000"
    return InboundMessage(
        name="ai-input", data=data or "stand-in", serial=serial, version=serial, extras=extras
    )


def reference(**changes: object) -> dict[str, object]:
    key = payload_prefix(NAME) + "0" * 64
    return {"place": [], "form": "text", "key": key, "size": 1, "mediaType": "text/plain", **changes}


OF_ANOTHER_SESSION = payload_prefix("another") + "0" * 64


@pytest.mark.parametrize(
    "references",
    [
        "{",
        "7",
        [7],
        ["[" * 100_000],
        "[" * 100_000,
        [reference(key="https://internal.example/secret")],
        [reference(key="../../etc/passwd")],
        [reference(key=OF_ANOTHER_SESSION)],
        [reference(place=[["a"]])],
        [reference(place=[-1])],
        [reference(place=[True])],
        [reference(form="pickle")],
        [reference(size="1")],
        [reference()] * 1001,
    ],
    ids=range(14),
)
async def test_the_store_is_never_asked_for_what_a_stranger_makes_up(
    hub: MemoryHub, store: MemoryPayloads, references: object
) -> None:
    reported: list[AITransportError] = []
    async with client(hub, "alice", store) as alice:
        alice.on_error(reported.append)
        hub.inject(NAME, forged(references))
        await hub.settle()
        assert texts(alice.view.messages) == ["stand-in"]
        await alice.view.load_all()
    assert store.gets == []
    assert len(reported) == 1


@pytest.mark.parametrize("place", [["missing"], [0], ["a", "b"]], ids=str)
async def test_a_reference_to_a_place_that_is_not_there(
    hub: MemoryHub, store: MemoryPayloads, place: list[object]
) -> None:
    reported: list[AITransportError] = []
    async with client(hub, "alice", store) as alice, client(hub, "bob", store) as bob:
        bob.on_error(reported.append)
        await alice.view.send(said(LONG))
        [key] = store.objects
        hub.inject(NAME, forged([reference(key=key, place=place)]))
        await hub.settle()
        await bob.view.load_all()
        assert texts(bob.view.messages)[-1] == "stand-in"
    assert len(reported) == 1


async def test_the_store_is_not_asked_for_what_is_left_out_of_the_conversation(
    hub: MemoryHub, store: MemoryPayloads
) -> None:
    own = MemoryPayloads()
    own.objects = store.objects
    trusting = ClientSession(hub.client("bob"), NAME, codec=CODEC, payloads=own, trusted_agents={"agent"})
    async with client(hub, "alice", store) as alice, trusting as bob, agent(hub, store) as serving:
        await reply(hub, alice, serving, tool_reply(ROWS))
        await shown(bob, "tool-rows", "output", ROWS)
        bob.on_error(lambda error: None)
        async with agent(hub, store, "mallory") as mallory:
            await reply(hub, alice, mallory, tool_reply(LONG))
        await shown(alice, "tool-rows", "output", LONG)
        assert bob.view.messages[-1].message["role"] == "user"
    assert len(own.gets) == 1


async def test_a_session_that_closes_while_values_are_on_their_way(
    hub: MemoryHub, store: MemoryPayloads
) -> None:
    store.gate = anyio.Event()
    with anyio.fail_after(5):
        async with client(hub, "alice", store) as alice, agent(hub, store) as serving:
            await reply(hub, alice, serving, tool_reply(ROWS))
            assert store.gets


@pytest.mark.parametrize(
    "store", [DirectoryPayloads, object(), "s3://bucket"], ids=["class", "object", "text"]
)
def test_an_option_that_is_no_store(hub: MemoryHub, store: object) -> None:
    with pytest.raises(InvalidArgumentError, match="unable to open session"):
        ClientSession(hub.client("alice"), NAME, codec=CODEC, payloads=store)  # pyright: ignore[reportArgumentType]
