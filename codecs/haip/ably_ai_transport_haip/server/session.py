"""A session of a server: it outlives the connections that it is spoken over."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, Protocol, TypeAlias

import anyio

from ably_ai_transport_haip.protocol import (
    BinaryReceived,
    CreditsChanged,
    FinishStatus,
    Frame,
    HaipEnvelope,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    HaipProtocolError,
    HaipRun,
    Handshaken,
    PeerConfig,
    PeerEvent,
    Received,
    Violated,
)
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.tools import ServerTool, Spawn, ToolDesk
from ably_ai_transport_haip.speaker import HaipSpeaker

logger = logging.getLogger("ably_ai_transport_haip")

MOST_UNWRITTEN: Final = 1000
"""Frames that may wait for a connection before whoever says more has to wait."""
_OF_THE_PROTOCOL: Final = frozenset(
    {
        HaipEventType.HAI,
        HaipEventType.PING,
        HaipEventType.PONG,
        HaipEventType.FLOW_UPDATE,
        HaipEventType.PAUSE_CHANNEL,
        HaipEventType.RESUME_CHANNEL,
        HaipEventType.REPLAY_REQUEST,
    }
)
_ABOUT_RUNS: Final = frozenset(
    {
        HaipEventType.RUN_STARTED,
        HaipEventType.RUN_FINISHED,
        HaipEventType.RUN_ERROR,
        HaipEventType.RUN_CANCEL,
    }
)


Ending: TypeAlias = Literal["over", "refused", "leaving"]
"""Why a connection ends: all is said, the client did what it must not, or the server goes for a while."""


class Outlet(Protocol):
    """One connection, as a session sees it."""

    async def write(self, frame: Frame) -> None:
        """Send a frame; nothing happens where the connection is gone."""
        ...

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Close the connection, once."""
        ...


class HaipServerSession(HaipSpeaker):
    """A session with one client, across its connections.

    What is sent while there is no connection is kept and arrives with the next one.

    Args:
        session_id: The session, a UUID.
        principal: Whose it is.
        options: Limits and times.
        tools: Tools that the server carries out.
        clock: The time: seconds since 1970.
        spawn: Runs a coroutine in a task that the server owns.

    Attributes:
        principal: Whose it is.
        last_seen: When it last had a connection.
    """

    def __init__(
        self,
        session_id: str,
        principal: Principal,
        options: HaipServerOptions,
        tools: Iterable[ServerTool],
        clock: Callable[[], float],
        spawn: Spawn,
    ) -> None:
        super().__init__(
            HaipPeer(
                PeerConfig(
                    "server",
                    clock,
                    options.flow_control,
                    receive_credits=options.receive_credits,
                    receive_credit_bytes=options.receive_credit_bytes,
                    max_concurrent_runs=options.max_concurrent_runs,
                    refills_on_read=True,
                ),
                session_id,
            )
        )
        self.principal = principal
        self.last_seen = clock()
        self._options = options
        self._clock = clock
        self._desk = ToolDesk(tools, self, self._answer, spawn)
        self._outlet: Outlet | None = None
        self._refusal: str | None = None
        self._work = asyncio.Event()
        self._written = asyncio.Event()
        self._violations: Counter[str] = Counter()
        self._others: set[str] = set()
        self._inbox, self._unread = anyio.create_memory_object_stream[HaipMessage | bytes](
            options.max_waiting
        )

    @property
    def is_connected(self) -> bool:
        """Whether the client is there."""
        return self._outlet is not None

    async def messages(self) -> AsyncIterator[HaipMessage]:
        """Iterate over what the client says and the application is to deal with, until the session ends.

        The client is granted more credits as its messages are read.

        Yields:
            Each message, in order. Bytes that belong to no message are left out; :meth:`frames` has them.
        """
        async for frame in self.frames():
            if isinstance(frame, HaipMessage):
                yield frame

    async def frames(self) -> AsyncIterator[HaipMessage | bytes]:
        """Iterate over messages and over bytes that belong to none, until the session ends.

        Yields:
            Each of them, in order.
        """
        async for frame in self._unread:
            if isinstance(frame, HaipMessage):
                self._note_read(frame)
            yield frame

    async def announce_run(
        self, run_id: str, thread_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Tell the client of a run that somebody else has started. It may cancel it.

        Args:
            run_id: The run, a UUID.
            thread_id: The conversation.
            metadata: What else the client should know.
        """
        self._others.add(run_id)
        payload: dict[str, object] = {"run_id": run_id, **({"metadata": dict(metadata)} if metadata else {})}
        await self._send(HaipEventType.RUN_STARTED, payload, None, run_id, thread_id)

    async def end_run(self, run_id: str, status: FinishStatus, thread_id: str | None = None) -> None:
        """Tell the client that a run has ended, whoever started it. One that has ended stays as it ended.

        Args:
            run_id: The run.
            status: How it ended.
            thread_id: The conversation.
        """
        if self._closes(run_id, status):
            run = self._runs.get(run_id) or HaipRun(run_id, thread_id, start_time=self._clock())
            self._peer.send_unchecked(self._end_of(run, {"status": status}))
            await self._flush()

    async def fail_run(self, run_id: str, error: HaipError, thread_id: str | None = None) -> None:
        """Tell the client that a run has failed, whoever started it.

        Args:
            run_id: The run.
            error: Why.
            thread_id: The conversation.
        """
        if self._closes(run_id, "ERROR"):
            payload = {"code": str(error.code), "message": error.message}
            await self._send(HaipEventType.RUN_ERROR, payload, None, run_id, thread_id)

    def _closes(self, run_id: str, status: FinishStatus) -> bool:
        if run_id in self._others:
            self._others.discard(run_id)
            return True
        return self._runs.finish(run_id, self._clock(), status) is not None

    # For the server

    async def attach(self, outlet: Outlet) -> None:
        """Speak over a connection from now on; the one before it is closed."""
        before, self._outlet = self._outlet, outlet
        self._refusal = None
        self._peer.reconnect()
        if before is not None:
            await before.close("another connection has taken the session over")

    def detach(self, outlet: Outlet) -> None:
        """Note that a connection is gone."""
        if self._outlet is outlet:
            self._outlet = None
            self.last_seen = self._clock()
            self._peer.take_outgoing()
            self._written.set()

    def expect_fresh(self) -> None:
        """Tell the client that the session which it wants to go on with is not known."""
        self._peer.refuse_resume()

    def take_text(self, text: str) -> None:
        """Take in a text frame."""
        self._take(self._peer.receive_text(text))

    def take_binary(self, data: bytes) -> None:
        """Take in a binary frame."""
        self._take(self._peer.receive_binary(data))

    async def write_to(self, outlet: Outlet) -> None:
        """Write what there is to be written, for as long as the connection is the session's."""
        while self._outlet is outlet:
            self._take(self._peer.tick())
            self._work.clear()
            while self._outlet is outlet and (frame := self._peer.next_outgoing()) is not None:
                await outlet.write(frame)
            self._written.set()
            if self._refusal is not None:
                await outlet.close(self._refusal, "refused")
                return
            due = self._peer.due
            with anyio.move_on_after(None if due is None else max(0.0, due - self._clock())):
                await self._work.wait()

    def ping(self) -> None:
        """Ask the client whether it is there."""
        self._peer.send(HaipMessage(HaipEventType.PING, {}))
        self._work.set()

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """End the session; what has been said is written before. What has come can still be read."""
        self._inbox.close()
        outlet = self._outlet
        if outlet is not None:
            await self._drain()
            self.detach(outlet)
            await outlet.close(reason, ending)
        self._wake()

    def forget_unread(self) -> None:
        """Note that nobody reads any more."""
        self._unread.close()

    def fail(self, error: HaipError) -> None:
        """Tell the client of an error."""
        self._peer.send_error(error)
        self._work.set()

    def refuse(self, error: HaipError) -> None:
        """Tell the client of an error, and close the connection when it has been told."""
        self.fail(error)
        self._refuse(error)

    # Inside

    async def _ready(self) -> None:
        """Nothing to wait for: what is sent without a connection is kept for the next one."""

    async def _flush(self) -> None:
        if self._outlet is None:
            # It is kept for a replay.
            self._peer.take_outgoing()
            return
        self._work.set()
        while self.is_connected and self._peer.backlog > MOST_UNWRITTEN:
            self._written.clear()
            await self._written.wait()

    async def _drain(self) -> None:
        with anyio.move_on_after(self._options.close_timeout):
            while self.is_connected and self._peer.backlog:
                self._written.clear()
                self._work.set()
                await self._written.wait()

    def _answer(self, messages: Sequence[HaipMessage]) -> None:
        """Answer without waiting: who reads must go on reading, or no grant would ever arrive."""
        if not self._peer.send_all(messages, queue=True):
            self._peer.ask_for_credits(messages[0].envelope.channel or "SYSTEM")
        self._work.set()

    def _take(self, events: Sequence[PeerEvent]) -> None:
        for event in events:
            match event:
                case Handshaken():
                    if not event.resumed:
                        self._wake()
                case Received():
                    self._take_message(event.message)
                case BinaryReceived():
                    self._hand_on(event.data)
                case CreditsChanged():
                    self._take_grant(event)
                case Violated():
                    self._count(event)
                case _:
                    logger.warning(
                        "Messages of the client of session %s are lost: %s", self.session_id, event
                    )
        self._work.set()

    def _take_message(self, message: HaipMessage) -> None:
        if message.type in _OF_THE_PROTOCOL:
            return
        try:
            message = self._with_run(message)
            if self._desk.take(message) or self._take_run(message):
                self._note_read(message)
                return
        except HaipError as error:
            self._peer.send_error(error, message.id)
            self._note_read(message)
            return
        self._hand_on(message)
        if message.type is HaipEventType.RUN_CANCEL and self._options.answers_cancel:
            self._answer_cancel(message)

    def _hand_on(self, frame: HaipMessage | bytes) -> None:
        try:
            self._inbox.send_nowait(frame)
        except anyio.WouldBlock:
            error = HaipError(
                f"unable to take more; {self._options.max_waiting} messages wait to be read",
                HaipErrorCode.FLOW_CONTROL_VIOLATION,
            )
            self.refuse(error)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            logger.warning("Session %s has ended, and its client says more", self.session_id)

    def _note_read(self, message: HaipMessage) -> None:
        self._peer.note_read(message)
        self._work.set()

    def _with_run(self, message: HaipMessage) -> HaipMessage:
        """A message without a run belongs to the newest one that is open (specification 1.1.2)."""
        run = self._runs.newest_open
        envelope = message.envelope
        if run is None or envelope.run_id is not None or message.type in _ABOUT_RUNS:
            return message
        thread_id = envelope.thread_id or run.thread_id
        return replace(message, envelope=replace(envelope, run_id=run.id, thread_id=thread_id))

    def _take_run(self, message: HaipMessage) -> bool:
        """Keep account of runs; returns whether the application need not know."""
        if message.type not in _ABOUT_RUNS:
            return False
        run_id = message.envelope.run_id or message.payload.get("run_id")
        if not isinstance(run_id, str):
            raise HaipProtocolError(
                f"unable to take {message.type}; it names no run", HaipErrorCode.MISSING_RUN_ID
            )
        if message.type is HaipEventType.RUN_STARTED:
            metadata = message.payload.get("metadata")
            is_new = self._runs.start(
                run_id,
                self._clock(),
                thread_id=message.envelope.thread_id,
                metadata=metadata if isinstance(metadata, dict) else None,  # pyright: ignore[reportUnknownArgumentType]
            )
            # The reference client knows of its own run only when it hears of it.
            self._answer([_about_run(message, run_id)])
            return not is_new
        if message.type is HaipEventType.RUN_CANCEL and run_id in self._others:
            return False
        if self._runs.get(run_id) is None:
            raise HaipProtocolError(
                f"unable to take {message.type}; run {run_id} is not known", HaipErrorCode.RUN_NOT_FOUND
            )
        if message.type is not HaipEventType.RUN_CANCEL:
            self._note_run(message)
            if self._peer.is_lenient:
                # The same goes for its end.
                self._peer.send_unchecked(_about_run(message, run_id))
        return False

    def _answer_cancel(self, message: HaipMessage) -> None:
        run = self._runs.finish(str(message.payload["run_id"]), self._clock(), "CANCELLED")
        if run is not None:
            self._peer.send_unchecked(self._end_of(run, {"status": "CANCELLED"}))
            self._work.set()

    def _count(self, violated: Violated) -> None:
        error = violated.error
        logger.warning("The client of session %s did what it must not: %s", self.session_id, error)
        self._violations[error.code] += 1
        limits = {
            HaipErrorCode.FLOW_CONTROL_VIOLATION.value: self._options.max_flow_control_violations,
            HaipErrorCode.PROTOCOL_VIOLATION.value: self._options.max_protocol_violations,
        }
        if violated.fatal or self._violations[error.code] > limits.get(error.code, 100):
            self._violations.clear()
            self._refuse(error)

    def _refuse(self, error: HaipError) -> None:
        """Close the connection when what has been said is written."""
        if self._outlet is not None:
            self._refusal = error.message
            self._work.set()


def _about_run(message: HaipMessage, run_id: str) -> HaipMessage:
    envelope = HaipEnvelope(
        channel=message.envelope.channel, run_id=run_id, thread_id=message.envelope.thread_id
    )
    return HaipMessage(message.type, {**message.payload, "run_id": run_id}, envelope)
