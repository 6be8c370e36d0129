"""What either side of a session can say."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

import anyio

from ably_ai_transport_haip.message_options import HaipMessageOptions
from ably_ai_transport_haip.protocol import (
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
from ably_ai_transport_haip.tools import HaipTool

PART_CHARACTERS: Final = 1000
FINISH_STATUSES: Final = ("OK", "CANCELLED", "ERROR")

ToolProgress: TypeAlias = Literal["QUEUED", "RUNNING", "CANCELLING"]


class HaipSpeaker:
    """Runs, texts, tools, credits and sound, for clients and for sessions of a server alike.

    Args:
        peer: The protocol.
    """

    def __init__(self, peer: HaipPeer) -> None:
        self._peer = peer
        self._runs = RunRegistry(peer.config.max_concurrent_runs)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def session_id(self) -> str:
        """The session, a UUID."""
        return self._peer.session_id

    async def _ready(self) -> None:
        """Wait until messages can be sent."""
        raise NotImplementedError

    async def _flush(self) -> None:
        """Write what the peer has to send."""
        raise NotImplementedError

    # Runs

    async def start_run(
        self, thread_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> str:
        """Open a run.

        Args:
            thread_id: The conversation that it belongs to.
            metadata: What else the server should know.

        Returns:
            The run's id.

        Raises:
            HaipProtocolError: As many are open as may be (RUN_LIMIT_EXCEEDED).
            HaipConnectionError: There is no connection.
        """
        await self._ready()
        run_id = new_id()
        self._runs.start(run_id, self._peer.config.clock(), thread_id=thread_id, metadata=metadata)
        payload: dict[str, object] = {"run_id": run_id}
        if thread_id is not None:
            payload["thread_id"] = thread_id
        if metadata is not None:
            payload["metadata"] = dict(metadata)
        await self._send(HaipEventType.RUN_STARTED, payload, None, run_id, thread_id)
        return run_id

    async def finish_run(
        self, run_id: str, status: FinishStatus | None = None, summary: str | None = None
    ) -> None:
        """Close a run. One that has ended stays as it ended.

        Args:
            run_id: The run.
            status: How it ended; ``OK`` where nothing is said.
            summary: What is said about it.

        Raises:
            HaipProtocolError: There is no such run (RUN_NOT_FOUND), or the status is none.
        """
        if status is not None and status not in FINISH_STATUSES:
            raise HaipProtocolError(
                f"unable to finish run; '{status}' is not one of {', '.join(FINISH_STATUSES)}",
                HaipErrorCode.INVALID_MESSAGE,
            )
        run = self._require_run(run_id)
        if self._runs.finish(run_id, self._peer.config.clock(), status or "OK", summary) is None:
            return
        await self._ready()
        self._peer.send_unchecked(self._end_of(run, _set(status=status, summary=summary)))
        await self._flush()

    async def cancel_run(self, run_id: str) -> None:
        """Ask for a run to stop.

        Args:
            run_id: The run.
        """
        self._runs.finish(run_id, self._peer.config.clock(), "CANCELLED")
        await self._send(HaipEventType.RUN_CANCEL, {"run_id": run_id}, None, run_id)

    def get_active_runs(self) -> list[HaipRun]:
        """List the runs that are open, oldest first."""
        return self._runs.active

    def get_run(self, run_id: str) -> HaipRun | None:
        """Return a run, or None where it is not known."""
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
        """Send a text: its start, its parts and its end, all of them or none.

        Each of these messages costs one credit, so a short text costs three.

        Args:
            channel: Where to, usually ``USER``.
            text: The text.
            author: Who says it.
            run_id: The run that it belongs to.
            thread_id: The conversation.

        Returns:
            The text's message id.

        Raises:
            HaipFlowControlError: There are not enough credits, and the configuration says ``raise``.
            HaipConnectionError: There is no connection.
        """
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
        """Send any message.

        Args:
            message: The message; what its envelope leaves out is filled in.
            options: What to add to it, and how long to wait.

        Raises:
            HaipProtocolError: The schema refuses it, or the server does not take such messages.
            HaipFlowControlError: There are not enough credits, and the configuration says ``raise``.
            HaipConnectionError: There is no connection, or it took longer than it may (TIMEOUT).
        """
        wishes = options or HaipMessageOptions()
        try:
            with anyio.fail_after(wishes.timeout):
                await self._send_all([wishes.apply_to(message)])
        except TimeoutError:
            raise HaipConnectionError(
                f"unable to send {message.type} within {wishes.timeout} s; there was no connection, or there"
                " were no credits",
                HaipErrorCode.TIMEOUT,
            ) from None

    async def send_binary(self, data: bytes) -> None:
        """Send a binary frame that belongs to no message.

        Args:
            data: The bytes.
        """
        await self._ready()
        self._peer.send_binary(data)
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
        """Ask for a tool to be called.

        Args:
            channel: Where to, usually ``AGENT``.
            tool: Its name.
            params: What to call it with.
            run_id: The run that the call belongs to.
            thread_id: The conversation.

        Returns:
            The call's id; the result comes as ``TOOL_DONE`` with it.
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
        """Tell how far a call is.

        Args:
            channel: Where to.
            call_id: The call.
            status: What is being done about it.
            progress: How much of it is done: 0 to 100.
            partial: What there is so far.
            run_id: The run that the call belongs to.
            thread_id: The conversation.
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
        """Answer a call.

        Args:
            channel: Where to.
            call_id: The call.
            status: How it ended; ``OK`` where nothing is said.
            result: What it brought.
            run_id: The run that the call belongs to.
            thread_id: The conversation.
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
        """Ask for a call to stop.

        Args:
            channel: Where to.
            call_id: The call.
            reason: Why.
            run_id: The run that the call belongs to.
            thread_id: The conversation.
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
        """Tell which tools there are on this side. Those with parameters are described by a schema each.

        Args:
            channel: Where to.
            tools: The tools.
            run_id: The run that they are for.
            thread_id: The conversation.
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
        """Ask what a tool of the server takes; the answer comes as ``TOOL_SCHEMA``.

        Args:
            channel: Where to.
            tool: Its name.
            run_id: The run that asks.
            thread_id: The conversation.
        """
        await self._send(HaipEventType.TOOL_SCHEMA, {"tool": tool, "schema": {}}, channel, run_id, thread_id)

    # Flow control

    async def send_flow_update(
        self, channel: str, add_messages: int | None = None, add_bytes: int | None = None
    ) -> None:
        """Let the server send more on a channel, and ask it for as much.

        Args:
            channel: The channel.
            add_messages: Messages; nothing where it is zero or left out.
            add_bytes: Bytes; nothing where it is zero or left out.
        """
        payload = {
            "channel": str(channel),
            **_set(add_messages=add_messages or None, add_bytes=add_bytes or None),
        }
        if len(payload) > 1:
            await self._send(HaipEventType.FLOW_UPDATE, payload)

    async def pause_channel(self, channel: str) -> None:
        """Ask the server to send nothing on a channel.

        Args:
            channel: The channel.
        """
        await self._send(HaipEventType.PAUSE_CHANNEL, {"channel": str(channel)})

    async def resume_channel(self, channel: str) -> None:
        """Let the server send on a channel again.

        Args:
            channel: The channel.
        """
        await self._send(HaipEventType.RESUME_CHANNEL, {"channel": str(channel)})

    # Replay and sound

    async def request_replay(self, from_seq: str, to_seq: str | None = None) -> None:
        """Ask for messages again. Those that have come are not handed out twice.

        Args:
            from_seq: The number of the first.
            to_seq: The number of the last; left out, all that follow.
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
        """Send a piece of sound: in a binary frame where both sides take them, else as base64.

        Args:
            channel: Where to, usually ``AUDIO_IN``.
            message_id: The recording that it belongs to, a UUID.
            mime: What the bytes are.
            data: The bytes.
            duration_ms: How long it is.
            run_id: The run that it belongs to.
            thread_id: The conversation.
        """
        await self._ready()
        payload: dict[str, object] = {
            "message_id": message_id,
            "mime": mime,
            **_set(duration_ms=None if duration_ms is None else str(duration_ms)),
        }
        envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=thread_id)
        remote = self._peer.remote
        if remote is not None and remote.binary_frames and not self._peer.is_lenient and data:
            message = HaipMessage(
                HaipEventType.AUDIO_CHUNK, payload, envelope, bin_mime=mime, binary=bytes(data)
            )
        else:
            payload["data"] = base64.b64encode(data).decode()
            message = HaipMessage(HaipEventType.AUDIO_CHUNK, payload, envelope)
        await self._send_all([message])

    # Inside

    def _require_run(self, run_id: str) -> HaipRun:
        run = self._runs.get(run_id)
        if run is None:
            raise HaipProtocolError(
                f"unable to finish run; {run_id} is not known", HaipErrorCode.RUN_NOT_FOUND
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
        envelope = HaipEnvelope(channel=channel or HaipChannel.SYSTEM, run_id=run_id, thread_id=thread_id)
        await self._send_all([HaipMessage(event, payload, envelope)])

    def _end_of(self, run: HaipRun, payload: Mapping[str, object]) -> HaipMessage:
        """Say that a run has ended, in the way that the other side understands. It costs no credits."""
        # The reference server looks for the run in the payload, where the schema does not allow it.
        named = {**payload, "run_id": run.id} if self._peer.is_lenient else payload
        envelope = HaipEnvelope(channel=HaipChannel.SYSTEM, run_id=run.id, thread_id=run.thread_id)
        return HaipMessage(HaipEventType.RUN_FINISHED, named, envelope)

    async def _send_all(self, messages: Sequence[HaipMessage]) -> None:
        await self._ready()
        channel = messages[0].envelope.channel or HaipChannel.SYSTEM
        match self._peer.config.flow_control.on_exhausted:
            case "wait":
                await self._send_in_turn(channel, messages)
            case "queue":
                if not self._peer.send_all(messages, queue=True):
                    self._peer.ask_for_credits(channel)
            case _:
                self._peer.send_all(messages)
        await self._flush()

    async def _send_in_turn(self, channel: str, messages: Sequence[HaipMessage]) -> None:
        for message in messages:
            self._peer.check([message])
        async with self._turns[channel]:
            for message in messages:
                while not self._peer.can_send([message]):
                    changed = self._changed[channel]
                    changed.clear()
                    self._peer.ask_for_credits(channel)
                    await self._flush()
                    await changed.wait()
                    await self._ready()
                self._peer.send(message)

    def _take_grant(self, event: CreditsChanged) -> None:
        """Let who waits for credits look again."""
        self._changed[event.channel].set()
        if self._peer.waiting(event.channel):
            self._peer.ask_for_credits(event.channel)

    def _wake(self) -> None:
        for changed in self._changed.values():
            changed.set()

    def _note_run(self, message: HaipMessage) -> None:
        run_id = message.envelope.run_id or message.payload.get("run_id")
        if not isinstance(run_id, str):
            return
        now = self._peer.config.clock()
        match message.type:
            case HaipEventType.RUN_STARTED:
                try:
                    self._runs.start(run_id, now, thread_id=message.envelope.thread_id)
                except HaipError as error:
                    self._peer.send_error(error, message.id)
            case HaipEventType.RUN_FINISHED:
                status = cast("FinishStatus", message.payload.get("status", "OK"))
                summary = message.payload.get("summary")
                self._runs.finish(run_id, now, status, None if summary is None else str(summary))
            case HaipEventType.RUN_ERROR:
                self._runs.finish(run_id, now, "ERROR", str(message.payload.get("message")))
            case _:
                pass


def _set(**fields: object) -> dict[str, object]:
    """Return the fields that are set, as plain JSON."""
    return json.loads(json.dumps({key: value for key, value in fields.items() if value is not None}))
