"""A conversation composed by hand, as the messages of a channel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ably_ai_transport.wire import InboundMessage, MessageAction, names
from ably_ai_transport.wire.messages import ai_extras


@dataclass(eq=False)
class Step:
    """An attempt of a step that is under way."""

    run: "Run"
    step_id: str
    serial: str


@dataclass(eq=False)
class Call:
    """A tool call that waits for an answer.

    Attributes:
        call_id: The call.
        message_id: The message that it is in.
        arguments: What the tool is called with.
        answers: How many answers there were.
    """

    call_id: str
    message_id: str
    arguments: dict[str, str]
    answers: int = 0


@dataclass(eq=False)
class Run:
    """A run, and its parent.

    Attributes:
        run_id: The run.
        trigger: The input that it was started or resumed by last.
        follows: The message that its outputs follow.
        parent: The message that the run follows.
        regenerates: The message that it replaces.
        messages: Its outputs, and the messages that were sent into it.
        attempts: Steps that were tried, by id.
        calls: Tools that it asked for.
        client_id: Whose input it replies to.
        status: Where it stands.
    """

    run_id: str
    trigger: str
    follows: str
    parent: str | None
    regenerates: str | None = None
    invocation_id: str = ""
    messages: list[str] = field(default_factory=list[str])
    attempts: list[Step] = field(default_factory=list[Step])
    calls: list[Call] = field(default_factory=list[Call])
    client_id: str = "alice"
    status: str = "active"

    @property
    def headers(self) -> dict[str, str | None]:
        return {
            names.RUN_ID: self.run_id,
            names.RUN_CLIENT_ID: self.client_id,
            names.INVOCATION_ID: self.invocation_id,
            names.INPUT_CODEC_MESSAGE_ID: self.trigger,
        }


class Talk:
    """Says things, in the order of the channel, and keeps the deliveries to live clients.

    Ids are counted: ``m1``, ``r2`` and so on.

    Attributes:
        live: The deliveries.
        speaker: The client id of the people who speak.
    """

    def __init__(self) -> None:
        self.speaker = "alice"
        self._authors: dict[str, str] = {}
        self.live: list[InboundMessage] = []
        self.runs: list[Run] = []
        self.inputs: dict[str, str | None] = {}
        self._stored: dict[str, InboundMessage] = {}
        self._ids = 0
        self._clock = 1_000_000

    @property
    def history(self) -> list[InboundMessage]:
        """The messages as history holds them, oldest first."""
        return list(self._stored.values())

    # What people say

    def say(
        self,
        text: str,
        parent: str | None = None,
        *,
        edits: str | None = None,
        into: Run | None = None,
        parts: int = 1,
    ) -> str:
        """Publish a message of a person; returns its id."""
        message_id = self._id("m")
        headers = {
            names.ROLE: "user",
            names.RUN_CLIENT_ID: self.speaker,
            names.CODEC_MESSAGE_ID: message_id,
            names.RUN_ID: None if into is None else into.run_id,
            names.PARENT: parent,
            names.FORK_OF: edits,
            names.EVENT_ID: f"event-{message_id}",
        }
        for i in range(parts):
            self._input(headers, text if i == 0 else f" {i}", message_id)
        if into is None:
            self.inputs[message_id] = parent
        else:
            into.messages.append(message_id)
        return message_id

    def ask_again(self, target: str, parent: str) -> str:
        """Publish a request to regenerate a message; returns its id."""
        message_id = self._id("m")
        headers = {
            names.ROLE: "user",
            names.RUN_CLIENT_ID: self.speaker,
            names.CODEC_MESSAGE_ID: message_id,
            names.PARENT: parent,
            names.MSG_REGENERATE: target,
            names.EVENT_ID: f"event-{message_id}",
        }
        self.put(names.AI_INPUT, headers, {"kind": "regenerate"}, client_id=self.speaker)
        return message_id

    def fork(self, text: str, superseded: Run) -> str:
        """Publish an answer that forks a suspended run; returns its id."""
        message_id = self._id("m")
        headers = {
            names.ROLE: "assistant",
            names.RUN_CLIENT_ID: self.speaker,
            names.CODEC_MESSAGE_ID: message_id,
            names.PARENT: superseded.parent,
            names.SUPERSEDES: superseded.run_id,
            names.EVENT_ID: f"event-{message_id}",
        }
        self._input(headers, text, message_id)
        return message_id

    def return_tool(self, run: Run, call: Call, text: str, how: str = "output") -> None:
        """Publish an answer to a tool call, for the same run to go on: an output, an error or an approval."""
        headers = self._tool_headers(call.message_id, call.message_id)
        headers |= {names.ROLE: "user", names.RUN_ID: run.run_id}
        codec, data = {"toolCallId": call.call_id}, dict[str, str]()
        match how:
            case "output":
                codec["kind"], data = "tool-result", {"output": text}
            case "error":
                codec["kind"], data = "tool-result-error", {"message": text}
            case _:
                codec |= {"kind": "tool-approval-response", "approved": "true", "reason": text}
        call.answers += 1
        self.put(names.AI_INPUT, headers, codec, data or "", client_id=self.speaker)

    def fork_tool(self, superseded: Run, call: Call, text: str) -> str:
        """Publish an answer to a tool call for a run of its own; returns the message that it starts from."""
        message_id = self._id("m")
        headers = self._tool_headers(message_id, superseded.parent)
        headers |= {names.ROLE: "assistant", names.SUPERSEDES: superseded.run_id}
        part = {
            "type": "tool-weather",
            "toolCallId": call.call_id,
            "state": "input-available",
            "input": call.arguments,
        }
        message = {"id": call.message_id, "role": "assistant", "parts": [{"type": "step-start"}, part]}
        seed = {"messages": [{"codecMessageId": message_id, "message": message}]}
        codec = {"kind": "tool-result", "toolCallId": call.call_id}
        self.put(names.AI_INPUT, headers, codec, {"output": text, "forkSeed": seed}, client_id=self.speaker)
        return message_id

    def say_into(self, run_id: str, text: str) -> str:
        """Publish a message into a run that somebody else keeps; returns the message's id."""
        return self.say(text, into=Run(run_id, "", "", None))

    def cancel(self, run: Run) -> None:
        """Publish a request to cancel."""
        self.cancel_run(run.run_id)

    def cancel_run(self, run_id: str) -> None:
        """Publish a request to cancel a run that somebody else keeps."""
        self.put(names.CANCEL, {names.EVENT_ID: self._id("e"), names.RUN_ID: run_id})

    # What agents do

    def start(
        self, trigger: str, parent: str | None, *, follows: str | None = None, regenerates: str | None = None
    ) -> Run:
        """Start a run that replies to an input."""
        run = Run(self._id("r"), trigger, follows or trigger, parent, regenerates, self._id("i"))
        run.client_id = self._author(trigger)
        headers = {**run.headers, names.PARENT: parent, names.MSG_REGENERATE: regenerates}
        self.put(names.RUN_START, headers)
        self.runs.append(run)
        return run

    def step(self, run: Run, step_id: str | None = None) -> Step:
        """Start an attempt of a step."""
        step_id = step_id or self._id("s")
        serial = self.put(
            names.STEP_START, {**run.headers, names.STEP_ID: step_id, names.STEP_CLIENT_ID: "alice"}
        )
        step = Step(run, step_id, serial)
        run.attempts.append(step)
        return step

    def end_step(self, step: Step, reason: str = "complete") -> None:
        """End an attempt of a step."""
        headers = {
            names.STEP_ID: step.step_id,
            names.STEP_START_SERIAL: step.serial,
            names.STEP_REASON: reason,
        }
        self.put(names.STEP_END, {**step.run.headers, **headers})

    def output(self, step: Step, kind: str, message_id: str, *, steers: str | None = None) -> None:
        """Publish an output in one piece."""
        codec = {"kind": kind, "messageId": message_id} if kind == "start" else {"kind": kind}
        headers = {**self._output_headers(step, message_id), names.STEER_CODEC_MESSAGE_IDS: steers}
        self.put(names.AI_OUTPUT, headers, codec)

    def stream(
        self, step: Step, message_id: str, kind: str = "text", stream_id: str = "t", **fields: str
    ) -> str:
        """Open a text, or what else grows; returns the serial to append to."""
        headers = {
            **self._output_headers(step, message_id),
            names.STREAM: "true",
            names.STATUS: "streaming",
            names.STREAM_ID: stream_id,
        }
        own_id = "id" if kind == "text" else "toolCallId"
        return self.put(names.AI_OUTPUT, headers, {"kind": kind, own_id: stream_id, **fields})

    def reply(self, step: Step, *words: str, closed: bool = True) -> str:
        """Publish a message with a text that grows; returns the message's id."""
        message_id = self._id("a")
        self.output(step, "start", message_id)
        self.output(step, "start-step", message_id)
        serial = self.stream(step, message_id)
        for word in words:
            self.append(serial, word)
        if closed:
            self.append(serial, "", status="complete")
            self.output(step, "finish-step", message_id)
            self.output(step, "finish", message_id)
        if message_id not in step.run.messages:
            step.run.messages.append(message_id)
        return message_id

    def call_tool(self, step: Step, arguments: dict[str, str], *, to_approve: bool = False) -> Call:
        """Publish a message that asks for a tool."""
        message_id = self._id("a")
        call = Call(self._id("c"), message_id, arguments)
        self.output(step, "start", message_id)
        self.output(step, "start-step", message_id)
        serial = self.stream(step, message_id, "tool-input", call.call_id, toolName="weather")
        self.append(serial, json.dumps(arguments))
        self.append(serial, "", status="complete")
        if to_approve:
            asked = {"kind": "tool-approval-request", "toolCallId": call.call_id, "approvalId": self._id("q")}
            self.put(names.AI_OUTPUT, self._output_headers(step, message_id), asked)
        self.output(step, "finish-step", message_id)
        self.output(step, "finish", message_id)
        step.run.messages.append(message_id)
        step.run.calls.append(call)
        return call

    def suspend(self, run: Run) -> None:
        """Suspend a run."""
        self.put(names.RUN_SUSPEND, run.headers)
        run.status = "suspended"

    def resume(self, run: Run, trigger: str) -> None:
        """Go on with a run under another invocation."""
        run.trigger = run.follows = trigger
        run.invocation_id = self._id("i")
        run.client_id = self._author(trigger)
        self.put(names.RUN_RESUME, run.headers)
        run.status = "active"

    def end(self, run: Run, reason: str = "complete") -> None:
        """End a run."""
        error = {names.ERROR_CODE: "104008", names.ERROR_MESSAGE: "failed"} if reason == "error" else {}
        self.put(names.RUN_END, {**run.headers, names.RUN_REASON: reason, **error})
        run.status = reason

    def answer(self, trigger: str, parent: str | None, *words: str, regenerates: str | None = None) -> Run:
        """Reply to an input with one message and end."""
        run = self.start(trigger, parent, follows=trigger, regenerates=regenerates)
        step = self.step(run)
        self.reply(step, *words)
        self.end_step(step)
        self.end(run)
        return run

    # What the channel does

    def put(
        self,
        name: str,
        transport: Mapping[str, str | None],
        codec: dict[str, str] | None = None,
        data: object = "",
        *,
        client_id: str = "alice",
    ) -> str:
        """Publish a message; returns its serial."""
        serial = self._serial()
        headers = {key: value for key, value in transport.items() if value is not None}
        if name == names.AI_INPUT and names.CODEC_MESSAGE_ID in headers:
            self._authors[headers[names.CODEC_MESSAGE_ID]] = client_id
        message = InboundMessage(
            name=name,
            data=data,
            serial=serial,
            version=serial,
            timestamp=self._clock,
            client_id=client_id,
            extras=ai_extras(headers, codec),
        )
        self._stored[serial] = message
        self.live.append(message)
        return serial

    def append(self, serial: str, text: str, *, status: str = "streaming") -> None:
        """Append to a message."""
        stored = self._stored[serial]
        extras = ai_extras({**stored.transport_headers, names.STATUS: status}, stored.codec_headers)
        delta = replace(stored, action=MessageAction.APPEND, data=text, version=self._serial(), extras=extras)
        self._stored[serial] = replace(delta, action=MessageAction.UPDATE, data=f"{stored.data}{text}")
        self.live.append(delta)

    def wait(self, milliseconds: int) -> None:
        """Let time pass before the next message."""
        self._clock += milliseconds

    def _input(self, headers: dict[str, str | None], text: str, message_id: str) -> None:
        codec = {"kind": "user-message", "partType": "text", "messageId": message_id}
        headers = {**headers, names.STREAM: "false"}
        self.put(names.AI_INPUT, headers, codec, text, client_id=self.speaker)

    def _tool_headers(self, message_id: str, parent: str | None) -> dict[str, str | None]:
        return {
            names.RUN_CLIENT_ID: self.speaker,
            names.CODEC_MESSAGE_ID: message_id,
            names.PARENT: parent,
            names.EVENT_ID: self._id("e"),
            names.STREAM: "false",
        }

    def _author(self, message_id: str) -> str:
        return self._authors.get(message_id, "alice")

    def _output_headers(self, step: Step, message_id: str) -> dict[str, str | None]:
        run = step.run
        return {
            names.ROLE: "assistant",
            names.CODEC_MESSAGE_ID: message_id,
            **run.headers,
            names.PARENT: run.follows,
            names.MSG_REGENERATE: run.regenerates,
            names.STEP_ID: step.step_id,
            names.STEP_START_SERIAL: step.serial,
            names.STEP_CLIENT_ID: "alice",
            names.STREAM: "false",
        }

    def _id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}{self._ids}"

    def _serial(self) -> str:
        self._clock += 1
        return f"{self._clock:014d}-000@talk:000"
