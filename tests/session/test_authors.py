"""Who wrote what, as Ably verified it; copies of an input, and words under the id of another's message."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from ably_ai_transport_vercel import (
    UIClientSession,
    UIMessage,
    UIMessageChunk,
    VercelInput,
    VercelProjection,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ClientSession,
    InboundMessage,
    InputNode,
    Invocation,
    NotAllowedError,
    OutboundMessage,
    RunNode,
)
from ably_ai_transport.conversation import Received, Tree, TrustFilter
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream, texts
from tests.session.stranger import replying, scene


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def authors(session: UIClientSession) -> list[str | None]:
    return [session.view.author_of(item.codec_message_id) for item in session.view.messages]


@pytest.mark.parametrize("page_size", [1, 2, 100])
async def test_authors_are_visible(page_size: int) -> None:
    async with scene(trusted=None) as stage:
        async with replying(stage) as (asked, run):
            steer = (await stage.join("bob")).view
            await steer.send(said("faster"), run_id=run.run_id)
            await stage.caught_up()
            assert run.owner == "alice"
            assert run.trigger is not None
            assert run.trigger.client_id == "alice"
        assert await asked.ended == "complete"
        await stage.caught_up()
        for session in (stage.alice, await stage.join("carol", history_page_size=page_size)):
            assert texts(session.view.messages) == ["hi", "one two ", "faster"]
            assert authors(session) == ["alice", "agent", "bob"]
            [info] = session.view.runs()
            assert (info.client_id, info.client_id_verified, info.agent_client_id) == ("alice", True, "agent")
            question, node = session.tree.nodes
            assert isinstance(question, InputNode)
            assert isinstance(node, RunNode)
            assert (question.client_id, node.agent_client_id) == ("alice", "agent")
            assert session.tree.author_of(question.codec_message_id) == "alice"
            assert session.tree.author_of("unknown") is None


async def test_a_message_has_no_verified_author_before_the_channel_has_brought_it(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        sent = await alice.view.send(said("hi"))
        await hub.settle()
        assert alice.view.author_of(sent.input_codec_message_id) == "alice"
        [node] = alice.tree.nodes
        assert isinstance(node, InputNode)
        assert node.client_id == "alice"


async def test_an_owner_that_a_client_only_claims_is_not_verified() -> None:
    async with scene(trusted=None) as stage:
        message_id = str(uuid.uuid4())
        event_id = await stage.mallory.say("pay", codec_message_id=message_id, run_client_id="alice")
        run = stage.agent.create_run(Invocation(input_event_id=event_id, session_name=NAME))
        async with run:
            await run.pipe(stream(reply("paid")))
            assert run.owner == "mallory"
        await stage.caught_up()
        [info] = stage.alice.view.runs()
        assert (info.client_id, info.client_id_verified) == ("alice", False)
        assert authors(stage.alice) == ["mallory", "agent"]


async def test_anonymous_clients_have_no_name(hub: MemoryHub) -> None:
    async with client(hub, None) as somebody, agent(hub) as session:
        asked = await somebody.view.send(said("hi"))
        await answer(hub, session, asked.to_invocation(), "yes")
        assert authors(somebody) == [None, "agent"]
        assert [info.client_id_verified for info in somebody.view.runs()] == [False]


# Copies


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
async def test_an_input_that_was_published_twice_counts_once(hub: MemoryHub, page_size: int) -> None:
    """After a lost ack a publisher sends its input again, and the channel has both."""
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            run.has_input()
            await asked.steer(said("faster")).published
            await hub.settle()
            channel = hub.client("alice").open_channel(NAME)
            await channel.attach()
            for message in hub.messages(NAME):
                if message.name == names.AI_INPUT:
                    await channel.publish([outbound(message)])
            await hub.settle()
            assert run.has_input()
            await run.pipe(stream(reply("quick")))
            assert not run.has_input()
        await hub.settle()
        late = client(hub, "bob", history_page_size=page_size)
        async with late:
            await late.view.load_all()
            for view in (alice.view, late.view):
                assert sorted(texts(view.messages)) == ["faster", "hi", "quick"]
        await channel.detach()


def outbound(message: InboundMessage) -> OutboundMessage:
    return OutboundMessage(
        message.name, message.data, ai_extras(message.transport_headers, message.codec_headers)
    )


# Words under the id of another's message

PART = {"kind": "user-message", "partType": "text", "messageId": "m"}


def words(
    serial: int, text: str, client_id: str, message_id: str, *, run_id: str | None = None, event: str = ""
) -> InboundMessage:
    headers = {
        names.ROLE: "user",
        names.CODEC_MESSAGE_ID: message_id,
        names.EVENT_ID: event or f"e{serial}",
        names.STREAM: "false",
    }
    if run_id is not None:
        headers[names.RUN_ID] = run_id
    return _message(serial, names.AI_INPUT, client_id, headers, PART, text)


def start(serial: int, run_id: str, parent: str) -> InboundMessage:
    headers = {names.RUN_ID: run_id, names.PARENT: parent, names.INPUT_CODEC_MESSAGE_ID: parent}
    return _message(serial, names.RUN_START, "agent", headers)


def data(serial: int, run_id: str, message_id: str, kind: str, text: str = "") -> InboundMessage:
    headers = {
        names.ROLE: "assistant",
        names.RUN_ID: run_id,
        names.CODEC_MESSAGE_ID: message_id,
        names.STREAM: "false",
    }
    return _message(serial, names.AI_OUTPUT, "agent", headers, {"kind": kind}, text)


def _message(
    serial: int,
    name: str,
    client_id: str,
    headers: dict[str, str],
    codec: dict[str, str] | None = None,
    text: str = "",
) -> InboundMessage:
    place = f"{serial:014d}-000@t:000"
    return InboundMessage(
        name=name,
        data=text,
        serial=place,
        version=place,
        timestamp=serial,
        client_id=client_id,
        id=f"c:{serial}:0",
        extras=ai_extras(headers, codec),
        version_client_id=client_id,
    )


TALK = [
    words(1, "hi", "alice", "m1"),
    start(2, "r1", "m1"),
    data(3, "r1", "a1", "start"),
    data(4, "r1", "a1", "data-note", "agent's"),
]
STRANGE = {
    "a part of another's question": words(31, "!", "mallory", "m1"),
    "another's question in a run": words(32, "!", "mallory", "m1", run_id="r1"),
    "words in a reply": words(33, "!", "mallory", "a1", run_id="r1"),
    "a question under the id of a reply": words(34, "!", "mallory", "a1"),
    "a question under the id of a run": words(35, "!", "mallory", "r1"),
}


def read(messages: Sequence[InboundMessage]) -> list[tuple[str, str, str | None]]:
    """List key, content and author of each message of a conversation."""
    tree = Tree(CODEC)
    for message in messages:
        tree.apply(message)
    return read_tree(tree)


def read_tree(
    tree: Tree[VercelInput, UIMessageChunk, VercelProjection, UIMessage],
) -> list[tuple[str, str, str | None]]:
    found: list[tuple[str, str, str | None]] = []
    for node in tree.index:
        for item in CODEC.get_messages(node.projection):
            author = tree.author_of(item.codec_message_id)
            found.append((node.key, str(item.message["parts"]), author and author.client_id))
    return found


@pytest.mark.parametrize("strange", STRANGE)
@settings(max_examples=60, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_nobody_speaks_under_another_name(strange: str, order: Random) -> None:
    messages = [*TALK, STRANGE[strange]]
    order.shuffle(messages)
    assert read(messages) == read(TALK)
    assert read(messages) == [
        ("m1", "[{'text': 'hi', 'type': 'text'}]", "alice"),
        ("r1", "[{'type': 'data-note', 'data': \"agent's\"}]", "agent"),
    ]


@settings(max_examples=60, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_the_parts_of_one_author_are_one_message(order: Random) -> None:
    messages = [words(1, "one ", "alice", "m1", event="e"), words(2, "two", "alice", "m1", event="f")]
    order.shuffle(messages)
    assert read(messages) == [
        ("m1", "[{'text': 'one ', 'type': 'text'}, {'text': 'two', 'type': 'text'}]", "alice")
    ]


@settings(max_examples=60, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_the_first_start_of_a_run_tells_where_it_belongs(order: Random) -> None:
    later = _message(
        9,
        names.RUN_START,
        "mallory",
        {names.RUN_ID: "r1", names.PARENT: "m2", names.INPUT_CODEC_MESSAGE_ID: "m2"},
    )
    messages = [*TALK, words(8, "mine", "mallory", "m2"), later]
    order.shuffle(messages)
    tree = Tree(CODEC)
    for message in messages:
        tree.apply(message)
    node = tree.get_run_node("r1")
    assert node is not None
    assert (node.parent_codec_message_id, node.agent_client_id) == ("m1", "agent")
    owner = tree.owner_of("r1")
    assert owner is not None
    assert owner.client_id == "alice"


# Trusted agents, in any order of arrival


def of_agent(serial: int, name: str, client_id: str, **headers: str) -> InboundMessage:
    keys = {key.replace("_", "-"): value for key, value in headers.items()}
    return _message(serial, name, client_id, keys)


def fork(serial: int, client_id: str, message_id: str, text: str) -> InboundMessage:
    message = {"id": message_id, "role": "assistant", "parts": [{"type": "text", "text": text}]}
    headers = {
        names.ROLE: "assistant",
        names.CODEC_MESSAGE_ID: message_id,
        names.PARENT: "m1",
        names.SUPERSEDES: "r1",
        names.EVENT_ID: f"e{serial}",
        names.STREAM: "false",
    }
    seed = {"messages": [{"codecMessageId": message_id, "message": message}]}
    made = _message(serial, names.AI_INPUT, client_id, headers, {"kind": "tool-result", "toolCallId": "c"})
    return replace(made, data={"output": 1, "forkSeed": seed})


HONEST = [
    *TALK,
    words(5, "faster", "bob", "s1", run_id="r1"),
    fork(6, "bob", "f1", "copied"),
    of_agent(7, names.RUN_START, "agent", run_id="r2", parent="m1", input_codec_message_id="f1"),
]
HOSTILE = [
    *STRANGE.values(),
    of_agent(8, names.RUN_START, "mallory", run_id="r9", parent="m1", input_codec_message_id="f9"),
    of_agent(9, names.STEP_START, "mallory", run_id="r1", step_id="s"),
    of_agent(10, names.RUN_END, "mallory", run_id="r1", run_reason="error", error_message="call me"),
    of_agent(11, names.RUN_START, "mallory", run_id="r1", parent="m9"),
    replace(data(12, "r1", "a1", "data-note", "forged"), client_id="mallory"),
    words(13, "hello", "mallory", "m9", run_id="r9"),
    fork(14, "mallory", "f9", "forged"),
]


def read_trusting(messages: Sequence[InboundMessage]) -> tuple[list[tuple[str, str, str | None]], list[str]]:
    """Read a conversation that trusts one agent; list the statuses of its runs, too."""
    tree, trust = Tree(CODEC), TrustFilter({"agent"}, own=None, on_refused=lambda _: None)
    for message in messages:
        for received in trust.admit(Received(message, live=True)):
            tree.apply(received.message)
    return read_tree(tree), [f"{n.key} {n.status}" for n in tree.index if isinstance(n, RunNode)]


@settings(max_examples=200, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_who_is_not_trusted_changes_nothing_in_any_order(order: Random) -> None:
    messages = [*HONEST, *HOSTILE]
    order.shuffle(messages)
    assert read_trusting(messages) == read_trusting(HONEST)
    found, runs = read_trusting(messages)
    assert [(key, author) for key, _, author in found] == [
        ("m1", "alice"),
        ("r1", "agent"),
        ("r1", "bob"),
        ("r2", "bob"),
    ]
    assert runs == ["r1 active", "r2 active"]


# Sessions that an invocation names


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_session_is_authorized_before_it_is_opened(
    hub: MemoryHub, allowed: bool, asynchronous: bool
) -> None:
    asked: list[str] = []

    def plain(invocation: Invocation) -> bool:
        asked.append(invocation.session_name)
        return allowed

    async def slow(invocation: Invocation) -> bool:
        return plain(invocation)

    invocation = Invocation(input_event_id="e1", session_name=NAME)
    opened = AgentSession.open(
        hub.client("agent"), invocation, codec=CODEC, authorize=slow if asynchronous else plain
    )
    if allowed:
        async with opened as session:
            assert session.name == NAME
    else:
        with pytest.raises(NotAllowedError, match=f"session '{NAME}' is not authorized"):
            await opened.__aenter__()
    assert asked == [NAME]


async def test_an_exception_of_the_application_is_its_own(hub: MemoryHub) -> None:
    def authorize(invocation: Invocation) -> bool:
        raise PermissionError(invocation.session_name)

    invocation = Invocation(input_event_id="e1", session_name=NAME)
    with pytest.raises(PermissionError):
        async with AgentSession.open(hub.client("agent"), invocation, codec=CODEC, authorize=authorize):
            pass


async def test_strangers_do_not_fill_the_memory_of_a_client(hub: MemoryHub) -> None:
    told: list[AITransportError] = []
    async with ClientSession(hub.client("alice"), NAME, codec=CODEC, trusted_agents={"agent"}) as alice:
        alice.on_error(told.append)
        for i in range(150):
            channel = hub.client(f"stranger-{i}").open_channel(NAME)
            await channel.attach()
            await channel.publish([outbound(data(1, "r", "a", "start"))])
            await channel.publish([outbound(words(1, "x", "", f"m{i}", run_id="r"))])
            await channel.detach()
        await hub.settle()
        assert len(told) == 100
        assert alice.tree.nodes == []
