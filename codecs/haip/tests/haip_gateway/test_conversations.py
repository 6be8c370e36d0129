"""HAIP clients in conversations with AI-transport clients and agents."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from ably_ai_transport_haip import FlowControlConfig
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import FinishStatus, HaipEventType, new_id
from ably_ai_transport_haip.server import HaipServerOptions
from ably_ai_transport_vercel import UIAgentRun, UIMessageChunk, text_of
from websockets.asyncio.client import ClientConnection, connect

from tests.session.stage import Gated, reply, stream
from tests.support.haip_bridge import Bridge, bridged, said
from tests.support.haip_stand import TRANSPORTS, Inbox, token

TEXT = ("MESSAGE_START", "MESSAGE_PART", "MESSAGE_END")


async def greet(run: UIAgentRun) -> None:
    messages = [entry.message for entry in await run.view.load_all()]
    await run.pipe(stream(reply("You said: ", text_of(messages[-1]))))


def texts(messages: list[Any]) -> list[str]:
    return [text_of(entry.message) for entry in messages]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_haip_client_talks_with_an_agent(transport: TransportName) -> None:
    async with bridged(greet) as bridge:
        alice = await bridge.haip("alice", transport)
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello", run_id=run_id)
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert (finished.envelope.run_id, finished.payload["status"]) == (run_id, "OK")
        assert inbox.texts() == ["You said: Hello"]
        assert {message.envelope.run_id for message in inbox.of(*TEXT)} == {run_id}
        assert {message.envelope.thread_id for message in inbox.of(*TEXT)} == {"1"}
        assert {message.envelope.channel for message in inbox.of(*TEXT)} == {"AGENT"}
        assert len(inbox.of("MESSAGE_START")) == len(inbox.of("MESSAGE_END")) == 1
        run = alice.get_run(run_id)
        assert run is not None
        assert run.status == "FINISHED"
        assert inbox.errors == []


async def test_haip_clients_and_others_see_one_conversation() -> None:
    async with bridged(greet) as bridge:
        alice, bob = await bridge.haip("alice"), await bridge.haip("bob")
        carol = await bridge.person("carol")
        hears, heard = Inbox(alice), Inbox(bob)
        await bob.start_run("1")
        asked = await carol.view.send(said("From carol"))
        await alice.start_run("1")
        await alice.send_text_message("USER", "From alice")
        await hears.until(1, "RUN_FINISHED")
        await heard.until(1, "RUN_FINISHED")
        await carol.cancel(asked.run_id)

        # Alice came after carol had spoken, and hears that too; bob heard both as they came.
        assert hears.texts() == ["From carol", "You said: From alice"]
        assert heard.texts() == ["From carol", "From alice", "You said: From alice"]
        assert texts(carol.view.messages) == ["From carol", "From alice", "You said: From alice"]
        [started] = [message for message in heard.of("RUN_STARTED") if message.payload.get("metadata")]
        [finished] = heard.of("RUN_FINISHED")
        assert started.envelope.run_id == finished.envelope.run_id


async def test_who_comes_late_hears_each_text_as_one_part() -> None:
    source = Gated("one ", "two ", "three ", "four")

    async def slowly(run: UIAgentRun) -> None:
        await run.pipe(source.chunks())

    async with bridged(slowly) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await alice.start_run("1")
        await alice.send_text_message("USER", "Count")
        await source.reached.wait()
        await inbox.until(1, "MESSAGE_PART")
        bob = await bridge.haip("bob")
        heard = Inbox(bob)
        await bob.start_run("1")
        await heard.until(2, "MESSAGE_PART")
        parts = [message.payload["text"] for message in heard.of("MESSAGE_PART")]
        assert parts == ["Count", inbox.text()]
        source.gate.set()
        await heard.until(1, "RUN_FINISHED")
        assert heard.texts() == ["Count", "one two three four"]


async def test_a_run_is_cancelled() -> None:
    source = Gated("one ", "two")

    async def slowly(run: UIAgentRun) -> None:
        await run.pipe(source.chunks())

    async with bridged(slowly) as bridge:
        alice, bob = await bridge.haip("alice"), await bridge.haip("bob")
        inbox, heard = Inbox(alice), Inbox(bob)
        await bob.start_run("1")
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Count")
        await source.reached.wait()
        [started] = [m for m in await heard.until(2, "RUN_STARTED") if m.payload.get("metadata")]
        # Any client may cancel, not only the one that sent the message.
        await bob.cancel_run(str(started.envelope.run_id))
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert (finished.envelope.run_id, finished.payload["status"]) == (run_id, "CANCELLED")
        await heard.until(1, "RUN_FINISHED")
        assert source.closed


async def test_a_run_that_fails() -> None:
    async def fail(run: UIAgentRun) -> None:
        raise RuntimeError("no model")

    async def failing(run: UIAgentRun) -> None:
        with pytest.raises(RuntimeError):
            await fail(run)
        await run.end("error")

    async with bridged(failing) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello")
        [error] = await inbox.until(1, "RUN_ERROR")
        assert (error.envelope.run_id, error.payload["code"]) == (run_id, "SERVER_ERROR")
        run = alice.get_run(run_id)
        assert run is not None
        assert run.status == "ERROR"


CALL: list[UIMessageChunk] = [
    {"type": "start"},
    {"type": "start-step"},
    {
        "type": "tool-input-available",
        "toolCallId": "call-1",
        "toolName": "weather",
        "input": {"city": "Porto"},
    },
    {"type": "finish-step"},
    {"type": "finish"},
]


@pytest.mark.parametrize(
    ("status", "result", "state"),
    [
        ("OK", {"degrees": 21}, {"state": "output-available", "output": {"degrees": 21}}),
        ("ERROR", "no network", {"state": "output-error", "errorText": "no network"}),
        ("CANCELLED", None, {"state": "output-error", "errorText": "cancelled"}),
    ],
)
async def test_a_call_is_answered_by_a_haip_client(
    status: FinishStatus, result: object, state: dict[str, object]
) -> None:
    async def ask(run: UIAgentRun) -> None:
        messages = [entry.message for entry in await run.view.load_all()]
        if not any(part["type"] == "tool-weather" for part in messages[-1]["parts"]):
            await run.pipe(stream(CALL))
            await run.suspend()
        else:
            await run.pipe(stream(reply("Thank you.")))

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "How is the weather?")
        [call] = await inbox.until(1, "TOOL_CALL")
        assert (call.payload["tool"], call.payload["params"]) == ("weather", {"city": "Porto"})
        assert call.envelope.run_id == run_id
        await alice.complete_tool("USER", str(call.payload["call_id"]), status, result)
        [done] = await inbox.until(1, "TOOL_DONE")
        assert done.payload["call_id"] == call.payload["call_id"]
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert finished.envelope.run_id == run_id
        assert inbox.text() == "Thank you."
        parts = [part for entry in carol.view.messages for part in entry.message["parts"]]
        [part] = [part for part in parts if part["type"] == "tool-weather"]
        assert {key: part.get(key) for key in state} == state


async def test_what_is_said_while_a_run_goes_on_steers_it() -> None:
    steered = asyncio.Event()

    async def listen(run: UIAgentRun) -> None:
        async with run.create_step() as step:
            await step.pipe(stream(reply("Listening. ")))
        with anyio.fail_after(10):
            async for _ in run.view.updates():
                if run.has_input():
                    break
        async with run.create_step() as step:
            await step.pipe(stream(reply("Heard.")))
        steered.set()

    async with bridged(listen) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await alice.start_run("1")
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_PART")
        await alice.send_text_message("USER", "And one more thing")
        await inbox.until(1, "RUN_FINISHED")
        assert steered.is_set()
        assert inbox.text().replace(" ", "") == "Listening.Heard."
        assert len(inbox.of("RUN_STARTED")) == 1


async def test_a_step_that_is_done_again_says_another_message() -> None:
    source = Gated("bad ", "try ")

    async def twice(run: UIAgentRun) -> None:
        async with run.create_step() as step:
            await step.pipe(source.chunks())
            await step.end("failed")
        async with run.create_step() as step:
            await step.pipe(stream(reply("good")))

    async with bridged(twice) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await alice.start_run("1")
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_PART")
        source.gate.set()
        await inbox.until(1, "RUN_FINISHED")
        bad, good = inbox.texts()
        assert ("bad try ".startswith(bad), good) == (True, "good")


async def test_a_client_without_credits_holds_up_nobody_else() -> None:
    words = [f"{n} " for n in range(200)]

    async def count(run: UIAgentRun) -> None:
        await run.pipe(stream(reply(*words)))

    async with bridged(count) as bridge:
        slow, alice = await bridge.haip("slow"), await bridge.haip("alice")
        deaf, inbox = Inbox(slow), Inbox(alice)
        await slow.start_run("1")
        await slow.pause_channel("AGENT")
        await slow.pause_channel("USER")
        await alice.start_run("1")
        await alice.send_text_message("USER", "Count")
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "".join(words)
        assert deaf.of(*TEXT) == []
        await slow.resume_channel("USER")
        await slow.resume_channel("AGENT")
        await deaf.until(1, "RUN_FINISHED")
        assert deaf.texts() == ["Count", "".join(words)]
        # The slow client got fewer parts.
        assert len(deaf.of("MESSAGE_PART")) < 10


async def test_regenerate_and_edit_as_metadata() -> None:
    number = 0

    async def count(run: UIAgentRun) -> None:
        nonlocal number
        number += 1
        await run.pipe(stream(reply(f"reply {number}")))

    async with bridged(count) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        await alice.start_run("1")
        message_id = await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "RUN_FINISHED")
        [first] = inbox.of("MESSAGE_START")
        await alice.start_run("1", {"ait": {"regenerate": first.payload["message_id"]}})
        await inbox.until(2, "RUN_FINISHED")
        await alice.start_run("1", {"ait": {"fork_of": message_id}})
        await alice.send_text_message("USER", "Goodbye")
        await inbox.until(3, "RUN_FINISHED")
        assert inbox.texts() == ["reply 1", "reply 2", "reply 3"]
        assert texts(carol.view.messages) == ["Hello", "reply 2"]
        alternatives = carol.view.branch_selection(carol.view.messages[0].codec_message_id)
        assert len(alternatives.siblings) == 2
        alternatives.select(1)
        assert texts(carol.view.messages) == ["Goodbye", "reply 3"]


async def test_sound_goes_both_ways() -> None:
    sound, answer = b"\x01\x02 sound", b"\x03\x04 answer"

    async def speak(run: UIAgentRun) -> None:
        encoded = base64.b64encode(answer).decode()
        await run.pipe(
            stream(
                [
                    {"type": "start"},
                    {
                        "type": "data-haip-audio",
                        "data": {"mime": "audio/opus", "data": encoded, "durationMs": 20},
                        "transient": True,
                    },
                    {"type": "file", "mediaType": "audio/wav", "url": f"data:audio/wav;base64,{encoded}"},
                    {"type": "finish"},
                ]
            )
        )

    async with bridged(speak) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_audio_chunk("AUDIO_IN", new_id(), "audio/opus", sound, 20, run_id)
        await alice.finish_run(run_id)
        passing, kept = await inbox.until(2, "AUDIO_CHUNK")
        assert {(passing.binary, passing.payload["mime"]), (kept.binary, kept.payload["mime"])} == {
            (answer, "audio/opus"),
            (answer, "audio/wav"),
        }
        [file] = carol.view.messages[0].message["parts"]
        assert file == {
            "type": "file",
            "mediaType": "audio/opus",
            "url": f"data:audio/opus;base64,{base64.b64encode(sound).decode()}",
        }


async def test_a_thread_that_cannot_be_entered_fails_the_run() -> None:
    async with bridged(greet) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("not/a thread")
        [error] = await inbox.until(1, "RUN_ERROR")
        assert (error.envelope.run_id, error.payload["code"]) == (run_id, "PROTOCOL_VIOLATION")
        await alice.start_run("1")
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.texts() == ["You said: Hello"]


async def test_an_agent_that_cannot_be_called_fails_the_run(caplog: pytest.LogCaptureFixture) -> None:
    async with bridged(greet, reachable=False) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello")
        [error] = await inbox.until(1, "RUN_ERROR")
        assert (error.envelope.run_id, error.payload["code"]) == (run_id, "SERVER_ERROR")
        assert str(error.payload["message"]) == "unable to call the agent (ConnectionError)"
        assert "nobody there" in caplog.text


async def test_credits_of_a_client_that_counts_them() -> None:
    words = [f"{n} " for n in range(300)]

    async def count(run: UIAgentRun) -> None:
        await run.pipe(stream(reply(*words)))

    async with bridged(count) as bridge:
        flow = FlowControlConfig(initial_credits=4, max_credits=4, on_exhausted="wait")
        alice = await bridge.haip("alice", flow_control=flow)
        inbox = Inbox(alice)
        for _ in range(5):
            await alice.start_run("1")
            await alice.send_text_message("USER", "Count")
            await inbox.until(1, "RUN_FINISHED")
        await inbox.until(5, "RUN_FINISHED")
        # The runs are open at the same time, so their parts may alternate.
        assert inbox.texts() == ["".join(words)] * 5
        assert min(alice.get_connection_state().credits.values()) >= 0


async def test_a_second_run_on_the_same_thread_continues_the_conversation() -> None:
    async def count(run: UIAgentRun) -> None:
        await run.pipe(stream(reply(f"{len(await run.view.load_all())} messages")))

    async with bridged(count) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        first = await alice.start_run("1")
        await alice.send_text_message("USER", "One", run_id=first)
        await inbox.until(1, "RUN_FINISHED")
        second = await alice.start_run("1")
        await alice.send_text_message("USER", "Two", run_id=second)
        await inbox.until(2, "RUN_FINISHED")
        assert inbox.texts() == ["1 messages", "3 messages"]
        assert [end.envelope.run_id for end in inbox.of("MESSAGE_END")] == [first, second]


async def test_a_text_without_a_run_starts_one() -> None:
    async with bridged(greet) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol", alice.session_id)
        inbox = Inbox(alice)
        await alice.send_text_message("USER", "Hello")
        await inbox.until(1, "RUN_FINISHED")
        [started] = inbox.of("RUN_STARTED")
        assert started.envelope.thread_id == alice.session_id
        assert inbox.texts() == ["You said: Hello"]
        assert {end.envelope.run_id for end in inbox.of("MESSAGE_END", "RUN_FINISHED")} == {
            started.envelope.run_id
        }
        assert texts(carol.view.messages) == ["Hello", "You said: Hello"]


async def test_a_text_without_a_run_stays_on_its_thread() -> None:
    source = Gated("one ", "two")

    async def slowly(run: UIAgentRun) -> None:
        if text_of((await run.view.load_all())[0].message) == "Count":
            await run.pipe(source.chunks())
        else:
            await greet(run)

    async with bridged(slowly) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol", "2")
        inbox = Inbox(alice)
        await alice.start_run("1")
        await alice.send_text_message("USER", "Count")
        await source.reached.wait()
        await alice.send_text_message("USER", "Hello", thread_id="2")
        await inbox.until(1, "RUN_FINISHED")
        assert texts(carol.view.messages) == ["Hello", "You said: Hello"]
        source.gate.set()


class RawClient:
    """A client that reads and writes frames, on thread 1."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session = new_id()
        self._sent = 0

    async def say(self, kind: str, payload: Mapping[str, object], run_id: str | None = None) -> None:
        self._sent += 1
        frame = {"id": new_id(), "session": self._session, "seq": str(self._sent), "ts": "1"}
        frame |= {"channel": "SYSTEM", "type": kind, "thread_id": "1"}
        await self._socket.send(
            json.dumps({**frame, "payload": payload, **({"run_id": run_id} if run_id else {})})
        )

    async def until(self, kind: str) -> AsyncGenerator[dict[str, Any]]:
        """Read frames up to one of a type."""
        with anyio.fail_after(10):
            async for text in self._socket:
                frame = json.loads(text)
                yield frame
                if frame["type"] == kind:
                    return


@asynccontextmanager
async def raw_client(
    bridge: Bridge, capabilities: Mapping[str, object], events: Iterable[str] = HaipEventType
) -> AsyncGenerator[RawClient]:
    async with connect(f"ws://127.0.0.1:{bridge.stand.port}/?token={token('bob')}") as socket:
        client = RawClient(socket)
        hai = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": list(events)}
        await client.say("HAI", {**hai, "capabilities": capabilities})
        run_id = new_id()
        await client.say("RUN_STARTED", {"run_id": run_id}, run_id)
        async for _ in client.until("RUN_STARTED"):
            pass
        yield client


async def test_a_client_gets_all_but_the_messages_that_it_does_not_accept() -> None:
    async def work(run: UIAgentRun) -> None:
        await run.pipe(stream([*CALL[:-2], *reply("Done.")[1:]]))

    accepted = [name for name in HaipEventType if not name.startswith("TOOL")]
    async with bridged(work) as bridge, raw_client(bridge, {}, accepted) as client:
        carol = await bridge.person("carol")
        await bridge.start((await carol.view.send(said("Work"))).to_invocation())
        kinds = [frame["type"] async for frame in client.until("RUN_FINISHED")]
        assert kinds.count("MESSAGE_END") == 2
        assert not any(kind.startswith("TOOL") for kind in kinds)


async def test_a_client_with_few_byte_credits_gets_small_parts() -> None:
    text = "é" * 5000

    async def tell(run: UIAgentRun) -> None:
        await run.pipe(stream(reply(text)))

    flow = {"initial_credit_messages": 1000, "initial_credit_bytes": 4000}
    async with bridged(tell) as bridge, raw_client(bridge, {"flow_control": flow}) as client:
        carol = await bridge.person("carol")
        await bridge.start((await carol.view.send(said("Tell"))).to_invocation())
        parts: list[str] = []
        async for frame in client.until("RUN_FINISHED"):
            if frame["type"] == "MESSAGE_PART" and frame["channel"] == "AGENT":
                parts.append(frame["payload"]["text"])
            if frame["channel"] == "AGENT":
                size = len(json.dumps(frame, ensure_ascii=False).encode())
                await client.say("FLOW_UPDATE", {"channel": "AGENT", "add_bytes": size})
        assert "".join(parts) == text
        assert len(parts) > 4


async def test_a_client_that_leaves_for_good_ends_its_part_without_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = [f"{n} " for n in range(200)]
    source = Gated(*words)

    async def count(run: UIAgentRun) -> None:
        await run.pipe(source.chunks())

    options = HaipServerOptions(session_ttl=0.05)
    async with bridged(count, options) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await alice.start_run("1")
        await alice.send_text_message("USER", "Count")
        await source.reached.wait()
        await inbox.until(1, "MESSAGE_PART")
        # Nothing more can be sent to Alice, and then she is gone.
        await alice.pause_channel("AGENT")
        source.gate.set()
        carol = await bridge.person("carol")
        await carol.view.load_all()
        with anyio.fail_after(10):
            async for _ in carol.view.updates():
                if [run.status for run in carol.view.runs()] == ["complete"]:
                    break
        await alice.disconnect()
        with anyio.fail_after(10):
            while len(bridge.stand.server):  # noqa: ASYNC110 - the server has no event for it
                await anyio.sleep(0.01)
        assert texts(carol.view.messages)[-1] == "".join(words)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
