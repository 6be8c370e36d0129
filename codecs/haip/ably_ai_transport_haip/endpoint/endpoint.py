"""HAIP operations: runs, texts, tools, credits, replay and audio, for clients and server sessions alike."""

import asyncio
import base64
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias, cast

import anyio

from ably_ai_transport_haip.endpoint.options import HaipMessageOptions
from ably_ai_transport_haip.endpoint.tools import HaipTool
from ably_ai_transport_haip.protocol import (
    Checked,
    CreditsChanged,
    FinishStatus,
    HaipChannel,
    HaipConnectionError,
    HaipEnvelope,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    HaipProtocolError,
    HaipRun,
    RunRegistry,
    new_id,
)

logger = logging.getLogger("ably_ai_transport_haip.endpoint")

PART_CHARACTERS: Final = 1000
FINISH_STATUSES: Final = ("OK", "CANCELLED", "ERROR")

ToolProgress: TypeAlias = Literal["QUEUED", "RUNNING", "CANCELLING"]


class HaipEndpoint:
    """One end of a HAIP session: the base of clients and of server sessions.

    Args:
        peer: The protocol state of this end.
    """

    def __init__(self, peer: HaipPeer) -> None:
        self._peer = peer
        self._runs = RunRegistry(peer.config.max_concurrent_runs)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def session_id(self) -> str:
        """The id of the session, a UUID."""
        return self._peer.session_id

    async def _ready(self) -> None:
        """Wait until messages can be sent."""
        raise NotImplementedError

    async def _flush(self) -> None:
        """Write the frames that the peer has queued."""
        raise NotImplementedError

    # Runs

    async def start_run(
        self, thread_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> str:
        """Start a run.

        Args:
            thread_id: The thread of the run.
            metadata: Further data for the other side; any JSON object.

        Returns:
            The run's id, a UUID.

        Raises:
            HaipProtocolError: Too many runs are open (RUN_LIMIT_EXCEEDED).
            HaipConnectionError: There is no connection.
        """
        await self._ready()
        run_id = new_id()
        payload: dict[str, object] = {"run_id": run_id}
        if thread_id is not None:
            payload["thread_id"] = thread_id
        if metadata is not None:
            payload["metadata"] = dict(metadata)
        # The message has the id of the run: an ERROR about the message then names the run.
        message = replace(_message(HaipEventType.RUN_STARTED, payload, None, run_id, thread_id), id=run_id)
        # Checked first: a run that cannot be announced does not count as open.
        self._peer.check([message])
        self._runs.start(run_id, self._peer.config.clock(), thread_id=thread_id, metadata=metadata)
        try:
            await self._send_all([message])
        except BaseException:  # a cancelled caller, too, leaves no open run behind
            self._runs.finish(run_id, self._peer.config.clock(), "ERROR")
            raise
        return run_id

    async def finish_run(
        self, run_id: str, status: FinishStatus | None = None, summary: str | None = None
    ) -> None:
        """Finish a run. A run that has ended keeps its status.

        Args:
            run_id: The run.
            status: The final status; ``OK`` by default.
            summary: A summary for the other side.

        Raises:
            HaipProtocolError: The run is unknown (RUN_NOT_FOUND), or the status is invalid (INVALID_MESSAGE).
        """
        if status is not None and status not in FINISH_STATUSES:
            raise _invalid("finish run", f"status '{status}' is not one of {', '.join(FINISH_STATUSES)}")
        if summary is not None and not isinstance(summary, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _invalid("finish run", f"summary is {type(summary).__name__}, not text")
        run = self._require_run(run_id)
        if self._runs.finish(run_id, self._peer.config.clock(), status or "OK", summary) is None:
            return
        await self._ready()
        self._peer.send_unchecked(self._end_of(run, _set(status=status, summary=summary)))
        await self._flush()

    async def cancel_run(self, run_id: str) -> None:
        """Ask the other side to cancel a run.

        Args:
            run_id: The run.
        """
        self._runs.finish(run_id, self._peer.config.clock(), "CANCELLED")
        await self._send(HaipEventType.RUN_CANCEL, {"run_id": run_id}, None, run_id)

    def get_active_runs(self) -> list[HaipRun]:
        """Return the open runs, oldest first."""
        return self._runs.active

    def get_run(self, run_id: str) -> HaipRun | None:
        """Return a run; None for an unknown id."""
        return self._runs.get(run_id)

    # Texts and other messages

    async def send_text_message(
        self,
        channel: str,
        text: str,
        author: str | None = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> str:
        """Send a text as start, parts and end: all of these messages or none.

        Each message costs one credit, so a short text costs three.

        Args:
            channel: The channel, usually ``USER``.
            text: The text.
            author: The name of the author.
            run_id: The run of the text.
            thread_id: The thread of the text.

        Returns:
            The id of the text, a UUID.

        Raises:
            HaipFlowControlError: The credits do not suffice, and ``on_exhausted`` is ``raise``.
            HaipConnectionError: There is no connection.
        """
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _invalid("send text", f"it is {type(text).__name__}, not text")
        message_id = new_id()
        envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=thread_id)
        start: dict[str, object] = {"message_id": message_id, **_set(author=author)}
        messages = [HaipMessage(HaipEventType.MESSAGE_START, start, envelope)]
        for first in range(0, len(text), PART_CHARACTERS):
            part: dict[str, object] = {
                "message_id": message_id,
                "text": text[first : first + PART_CHARACTERS],
            }
            messages.append(HaipMessage(HaipEventType.MESSAGE_PART, part, envelope))
        messages.append(HaipMessage(HaipEventType.MESSAGE_END, {"message_id": message_id}, envelope))
        await self._send_all(messages)
        return message_id

    async def send_message(self, message: HaipMessage, options: HaipMessageOptions | None = None) -> None:
        """Send a message of any type.

        Args:
            message: The message; empty fields of its envelope are filled in.
            options: Options of this send.

        Raises:
            HaipProtocolError: The schema refuses the message (INVALID_MESSAGE), or the other side does not
                accept its type (UNSUPPORTED_TYPE).
            HaipFlowControlError: The credits do not suffice, and ``on_exhausted`` is ``raise``.
            HaipConnectionError: There is no connection, or the send timed out (TIMEOUT).
        """
        if options is None:
            await self._send_all([message])
            return
        try:
            with anyio.fail_after(options.timeout):
                await self._send_all([options.apply_to(message)])
        except TimeoutError:
            raise HaipConnectionError(
                f"unable to send {message.type} within {options.timeout} s; there was no connection, or there"
                " were no credits",
                code=HaipErrorCode.TIMEOUT,
            ) from None

    async def send_binary(self, data: bytes) -> None:
        """Send a binary frame without a message.

        Args:
            data: The bytes.

        Raises:
            HaipProtocolError: The data are no bytes (INVALID_MESSAGE).
            HaipConnectionError: There is no connection.
        """
        content = _bytes(data)
        await self._ready()
        self._peer.send_binary(content)
        await self._flush()

    # Tools

    async def call_tool(
        self,
        channel: str,
        tool: str,
        params: Mapping[str, object] | None = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> str:
        """Call a tool of the other side.

        Args:
            channel: The channel, usually ``AGENT``.
            tool: The name of the tool.
            params: The parameters; any JSON object.
            run_id: The run of the call.
            thread_id: The thread of the call.

        Returns:
            The id of the call, a UUID. The result arrives as ``TOOL_DONE`` with this id.
        """
        call_id = new_id()
        payload = {"call_id": call_id, "tool": tool, **_set(params=params and dict(params))}
        await self._send(HaipEventType.TOOL_CALL, payload, channel, run_id, thread_id)
        return call_id

    async def update_tool(
        self,
        channel: str,
        call_id: str,
        status: ToolProgress,
        progress: float | None = None,
        partial: object = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        """Report the progress of a tool call.

        Args:
            channel: The channel of the call.
            call_id: The call.
            status: The current status.
            progress: The progress in percent, 0 to 100.
            partial: A partial result; any JSON value.
            run_id: The run of the call.
            thread_id: The thread of the call.
        """
        payload = {"call_id": call_id, "status": status, **_set(progress=progress, partial=partial)}
        await self._send(HaipEventType.TOOL_UPDATE, payload, channel, run_id, thread_id)

    async def complete_tool(
        self,
        channel: str,
        call_id: str,
        status: FinishStatus | None = None,
        result: object = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        """Report the result of a tool call.

        Args:
            channel: The channel of the call.
            call_id: The call.
            status: The final status; ``OK`` by default.
            result: The result; any JSON value.
            run_id: The run of the call.
            thread_id: The thread of the call.
        """
        payload = {"call_id": call_id, **_set(status=status, result=result)}
        await self._send(HaipEventType.TOOL_DONE, payload, channel, run_id, thread_id)

    async def cancel_tool(
        self,
        channel: str,
        call_id: str,
        reason: str | None = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        """Ask the other side to cancel a tool call.

        Args:
            channel: The channel of the call.
            call_id: The call.
            reason: The reason.
            run_id: The run of the call.
            thread_id: The thread of the call.
        """
        payload = {"call_id": call_id, **_set(reason=reason)}
        await self._send(HaipEventType.TOOL_CANCEL, payload, channel, run_id, thread_id)

    async def list_tools(
        self,
        channel: str,
        tools: Sequence[HaipTool],
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        """List the tools of this side. A schema follows for each tool with parameters.

        Args:
            channel: The channel, usually ``AGENT``.
            tools: The tools.
            run_id: The run that the tools are for.
            thread_id: The thread that the tools are for.
        """
        listed = [_set(name=tool.name, description=tool.description or None) for tool in tools]
        await self._send(HaipEventType.TOOL_LIST, {"tools": listed}, channel, run_id, thread_id)
        for tool in tools:
            if tool.parameters is not None:
                payload: dict[str, object] = {"tool": tool.name, "schema": dict(tool.parameters)}
                await self._send(HaipEventType.TOOL_SCHEMA, payload, channel, run_id, thread_id)

    async def get_tool_schema(
        self, channel: str, tool: str, run_id: str | None = None, thread_id: str | None = None
    ) -> None:
        """Ask for the schema of a tool. The reply arrives as ``TOOL_SCHEMA``.

        Args:
            channel: The channel, usually ``AGENT``.
            tool: The name of the tool.
            run_id: The run of the request.
            thread_id: The thread of the request.
        """
        await self._send(HaipEventType.TOOL_SCHEMA, {"tool": tool, "schema": {}}, channel, run_id, thread_id)

    # Flow control

    async def send_flow_update(
        self, channel: str, add_messages: int | None = None, add_bytes: int | None = None
    ) -> None:
        """Grant the other side credits on a channel. A server answers a client with a grant of its own.

        Args:
            channel: The channel.
            add_messages: Message credits; zero and None grant none.
            add_bytes: Byte credits; zero and None grant none.
        """
        payload = {
            "channel": str(channel),
            **_set(add_messages=add_messages or None, add_bytes=add_bytes or None),
        }
        if len(payload) > 1:
            await self._send(HaipEventType.FLOW_UPDATE, payload)

    async def pause_channel(self, channel: str) -> None:
        """Ask the other side to stop sending on a channel.

        Args:
            channel: The channel.
        """
        await self._send(HaipEventType.PAUSE_CHANNEL, {"channel": str(channel)})

    async def resume_channel(self, channel: str) -> None:
        """Let the other side send on a channel again.

        Args:
            channel: The channel.
        """
        await self._send(HaipEventType.RESUME_CHANNEL, {"channel": str(channel)})

    # Replay and audio

    async def request_replay(self, from_seq: str, to_seq: str | None = None) -> None:
        """Ask the other side to send messages again. Messages that have arrived are not delivered twice.

        Args:
            from_seq: The sequence number of the first message, as decimal digits.
            to_seq: The sequence number of the last; the newest by default.
        """
        await self._send(HaipEventType.REPLAY_REQUEST, {"from_seq": from_seq, **_set(to_seq=to_seq)})

    async def send_audio_chunk(
        self,
        channel: str,
        message_id: str,
        mime: str,
        data: bytes,
        duration_ms: int | None = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        """Send a chunk of audio: in a binary frame if the other side accepts them, else as base64.

        Args:
            channel: The channel, usually ``AUDIO_IN``.
            message_id: The id of the recording, a UUID.
            mime: The media type of the data.
            data: The audio data.
            duration_ms: The duration in milliseconds.
            run_id: The run of the recording.
            thread_id: The thread of the recording.

        Raises:
            HaipProtocolError: The data are no bytes, or another argument is invalid (INVALID_MESSAGE).
            HaipFlowControlError: The credits do not suffice, and ``on_exhausted`` is ``raise``.
            HaipConnectionError: There is no connection.
        """
        content = _bytes(data)
        await self._ready()
        payload: dict[str, object] = {
            "message_id": message_id,
            "mime": mime,
            **_set(duration_ms=None if duration_ms is None else str(duration_ms)),
        }
        envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=thread_id)
        remote = self._peer.remote
        if remote is not None and remote.binary_frames and not self._peer.is_lenient and content:
            message = HaipMessage(HaipEventType.AUDIO_CHUNK, payload, envelope, bin_mime=mime, binary=content)
        else:
            payload["data"] = base64.b64encode(content).decode()
            message = HaipMessage(HaipEventType.AUDIO_CHUNK, payload, envelope)
        await self._send_all([message])

    # Inside

    def _require_run(self, run_id: str) -> HaipRun:
        run = self._runs.get(run_id)
        if run is None:
            raise HaipProtocolError(
                f"unable to finish run; run {run_id} is unknown", HaipErrorCode.RUN_NOT_FOUND
            )
        return run

    async def _send(
        self,
        event: HaipEventType,
        payload: Mapping[str, object],
        channel: str | None = None,
        run_id: str | None = None,
        thread_id: str | None = None,
    ) -> None:
        await self._send_all([_message(event, payload, channel, run_id, thread_id)])

    def _end_of(self, run: HaipRun, payload: Mapping[str, object]) -> HaipMessage:
        """Build the message that ends a run, in the dialect of the other side. It costs no credits."""
        # The reference server reads the run id from the payload, where the schema forbids it.
        named = {**payload, "run_id": run.id} if self._peer.is_lenient else payload
        envelope = HaipEnvelope(channel=HaipChannel.SYSTEM, run_id=run.id, thread_id=run.thread_id)
        return HaipMessage(HaipEventType.RUN_FINISHED, named, envelope)

    async def _send_all(self, messages: Sequence[HaipMessage]) -> None:
        await self._ready()
        self._log("Sending", messages)
        match self._peer.config.flow_control.on_exhausted:
            case "wait":
                await self._send_in_turn(self._peer.check(messages))
            case "queue":
                if not self._peer.send_all(messages, queue=True):
                    self._peer.ask_for_credits(messages[0].envelope.channel or HaipChannel.SYSTEM)
            case _:
                self._peer.send_all(messages)
        await self._flush()

    async def _send_in_turn(self, checked: Sequence[Checked]) -> None:
        """Send messages in order, each as soon as there are credits for it."""
        channel = checked[0].channel
        async with self._turns[channel]:
            for one in checked:
                await self._still_open()
                while not self._peer.try_send(one):
                    changed = self._changed[channel]
                    changed.clear()
                    self._peer.ask_for_credits(channel, one)
                    if self._peer.try_send(one):
                        break
                    await self._flush()
                    await self._still_open()
                    await changed.wait()
                    await self._still_open()

    async def _still_open(self) -> None:
        """Return if a sender may go on waiting.

        Raises:
            HaipConnectionError: The session has ended.
        """
        await self._ready()

    def _log_received(self, message: HaipMessage) -> None:
        self._log("Received", [message])

    def _log(self, doing: str, messages: Sequence[HaipMessage]) -> None:
        if not logger.isEnabledFor(logging.DEBUG):
            return
        for message in messages:
            envelope = message.envelope
            known = {
                "haip_session": self.session_id,
                "run": envelope.run_id,
                "haip_thread": envelope.thread_id,
                "serial": envelope.sequence,
            }
            logger.debug("%s %s on %s", doing, message.type, envelope.channel, extra=known)

    def _take_grant(self, event: CreditsChanged) -> None:
        """Wake the senders that wait for credits."""
        changed = self._changed.get(event.channel)
        if changed is not None:
            changed.set()
        if self._peer.waiting(event.channel):
            self._peer.ask_for_credits(event.channel)

    def _wake(self) -> None:
        for changed in self._changed.values():
            changed.set()

    def _note_run(self, message: HaipMessage) -> None:
        """Update the registry of runs with a message of the other side."""
        now = self._peer.config.clock()
        refused = message.payload.get("related_id")
        if message.type is HaipEventType.ERROR and isinstance(refused, str):
            self._runs.finish(refused, now, "ERROR", str(message.payload.get("message")))
            return
        run_id = message.envelope.run_id or message.payload.get("run_id")
        if not isinstance(run_id, str):
            return
        match message.type:
            case HaipEventType.RUN_STARTED:
                try:
                    self._runs.start(run_id, now, thread_id=message.envelope.thread_id)
                except HaipError as error:
                    self._peer.send_error(error, message.id)
            case HaipEventType.RUN_FINISHED:
                status = cast("FinishStatus", message.payload.get("status") or "OK")
                summary = message.payload.get("summary")
                self._runs.finish(run_id, now, status, None if summary is None else str(summary))
            case HaipEventType.RUN_ERROR:
                self._runs.finish(run_id, now, "ERROR", str(message.payload.get("message")))
            case _:
                pass


def _message(
    event: HaipEventType,
    payload: Mapping[str, object],
    channel: str | None,
    run_id: str | None,
    thread_id: str | None,
) -> HaipMessage:
    envelope = HaipEnvelope(channel=channel or HaipChannel.SYSTEM, run_id=run_id, thread_id=thread_id)
    return HaipMessage(event, payload, envelope)


def _set(**fields: object) -> dict[str, object]:
    """Return the fields that are not None, as plain JSON."""
    known = {key: value for key, value in fields.items() if value is not None}
    try:
        return json.loads(json.dumps(known, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid("send message", f"{' or '.join(known)} is no JSON ({error})") from error


def _bytes(data: bytes) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid("send bytes", f"the data are {type(data).__name__}, not bytes")
    return bytes(data)


def _invalid(doing: str, why: str) -> HaipProtocolError:
    return HaipProtocolError(f"unable to {doing}; {why}", HaipErrorCode.INVALID_MESSAGE)
