"""Server session: one session with a client, across its connections."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

import anyio

from ably_ai_transport_haip.endpoint import HaipEndpoint
from ably_ai_transport_haip.protocol import (
    BinaryReceived,
    CreditsChanged,
    FinishStatus,
    HaipConnectionError,
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
    new_id,
)
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.inbox import Inbox
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.outlet import Ending, Outlet
from ably_ai_transport_haip.server.standby import HANDOVER_SECONDS, Handover, Standby
from ably_ai_transport_haip.server.tools import ServerTool, ToolDesk

logger = logging.getLogger("ably_ai_transport_haip.server")

_MOST_AT_ONCE: Final = 20
MOST_UNWRITTEN: Final = 100
"""The number of unwritten frames from which senders have to wait."""
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
_OF_AN_END: Final = ("status", "summary", "code", "message")
_ABOUT_RUNS: Final = frozenset(
    {
        HaipEventType.RUN_STARTED,
        HaipEventType.RUN_FINISHED,
        HaipEventType.RUN_ERROR,
        HaipEventType.RUN_CANCEL,
    }
)


class SessionState(StrEnum):
    """The states of a session."""

    AWAY = "away"
    CONNECTED = "connected"
    REFUSED = "refused"
    ENDED = "ended"


class Trigger(StrEnum):
    """The events that move a session from one state to another."""

    ATTACH = "attach"
    DETACH = "detach"
    REFUSE = "refuse"
    END = "end"


TRANSITIONS: Final[Mapping[tuple[SessionState, Trigger], SessionState]] = {
    (SessionState.AWAY, Trigger.ATTACH): SessionState.CONNECTED,
    (SessionState.AWAY, Trigger.END): SessionState.ENDED,
    (SessionState.CONNECTED, Trigger.ATTACH): SessionState.CONNECTED,
    (SessionState.CONNECTED, Trigger.DETACH): SessionState.AWAY,
    (SessionState.CONNECTED, Trigger.REFUSE): SessionState.REFUSED,
    (SessionState.CONNECTED, Trigger.END): SessionState.ENDED,
    (SessionState.REFUSED, Trigger.ATTACH): SessionState.CONNECTED,
    (SessionState.REFUSED, Trigger.DETACH): SessionState.AWAY,
    (SessionState.REFUSED, Trigger.END): SessionState.ENDED,
}
"""The state after each trigger. A pair that is not listed changes nothing: a session that has ended, for
example, accepts no connection. A refused connection is closed once the queued frames are written."""


class HaipServerSession(HaipEndpoint):
    """A session with one client, across its connections.

    Messages that are sent without a connection are kept for the next one.

    Args:
        session_id: The session, a UUID.
        principal: The client.
        options: The options of the server.
        tools: The tools of the server.
        clock: Returns the current time: seconds since 1970.

    Attributes:
        principal: The client.
        last_seen: The end of the latest connection: seconds since 1970.
        state: The state.
    """

    def __init__(
        self,
        session_id: str,
        principal: Principal,
        options: HaipServerOptions,
        tools: Iterable[ServerTool],
        clock: Callable[[], float],
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
                    replay_bytes=options.max_replay_bytes,
                    held_bytes=options.max_held_bytes,
                    binary_bytes=options.max_binary_size,
                ),
                session_id,
            )
        )
        self.principal = principal
        self.last_seen = clock()
        self._options = options
        self._clock = clock
        self._desk = ToolDesk(tools, self)
        self.state = SessionState.AWAY
        self._outlet: Outlet | None = None
        self._standby = Standby()
        self._refusal = ""
        self._work = asyncio.Event()
        self._written = asyncio.Event()
        self._writing = asyncio.Lock()
        self._at_once = 0
        self._violations: Counter[str] = Counter()
        self._known = {"haip_session": session_id}
        self._others: set[str] = set()
        self._inbox = Inbox(options.max_waiting, options.max_waiting_bytes)
        self._left_at = 0

    def __repr__(self) -> str:
        return f"<HaipServerSession {self.session_id} of {self.principal.id} {self.state}>"

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._outlet is not None

    async def messages(self) -> AsyncIterator[HaipMessage]:
        """Iterate over the messages for the application, until the session ends.

        Reading grants the client credits. Binary frames without a message are skipped; see :meth:`frames`.

        Yields:
            Each message, in order.
        """
        async for frame in self.frames():
            if isinstance(frame, HaipMessage):
                yield frame

    async def frames(self) -> AsyncIterator[HaipMessage | bytes]:
        """Iterate over messages and binary frames without a message, until the session ends.

        Yields:
            Each message (:class:`HaipMessage`) and each binary frame (``bytes``), in order.
        """
        while (frame := await self._inbox.take()) is not None:
            if isinstance(frame, HaipMessage):
                self._note_read(frame)
            yield frame

    async def announce_run(
        self, run_id: str, thread_id: str | None = None, metadata: Mapping[str, object] | None = None
    ) -> None:
        """Announce a run that another participant started. The client may cancel it.

        Args:
            run_id: The run, a UUID.
            thread_id: The thread of the run.
            metadata: Further data for the client; any JSON object.
        """
        self._others.add(run_id)
        payload: dict[str, object] = {"run_id": run_id, **({"metadata": dict(metadata)} if metadata else {})}
        await self._send(HaipEventType.RUN_STARTED, payload, None, run_id, thread_id)

    async def end_run(self, run_id: str, status: FinishStatus, thread_id: str | None = None) -> None:
        """Announce the end of a run that either side started. A run that has ended keeps its status.

        Args:
            run_id: The run.
            status: The final status.
            thread_id: The thread of the run.
        """
        if self._closes(run_id, status):
            run = self._runs.get(run_id) or HaipRun(run_id, thread_id, start_time=self._clock())
            self._peer.send_unchecked(self._end_of(run, {"status": status}))
            await self._flush()

    async def fail_run(self, run_id: str, error: HaipError, thread_id: str | None = None) -> None:
        """Announce the failure of a run that either side started.

        Args:
            run_id: The run.
            error: The error; its message is sent to the client.
            thread_id: The thread of the run.
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

    def enter(self, outlet: Outlet, handshake: HaipMessage) -> Outlet | None:
        """Use a connection from now on, or as soon as the one before it has delivered its frames.

        Args:
            outlet: The connection.
            handshake: The handshake of the client.

        Returns:
            A connection to close; None if there is none.

        Raises:
            HaipError: The session has ended, or the handshake is refused. A connection in use stays in use.
        """
        if (self.state, Trigger.ATTACH) not in TRANSITIONS:
            raise HaipError("the session has just ended (connect again)", HaipErrorCode.SERVER_ERROR)
        self._peer.check_handshake(handshake)
        before = self._outlet
        if (
            before is not None
            and self.state is SessionState.CONNECTED
            and before.reopens
            and self._peer.is_lenient
            and self._peer.accepts(HaipEventType.PING)
        ):
            nonce = new_id()
            self._peer.ping(nonce)
            deadline = anyio.current_time() + HANDOVER_SECONDS
            waiting = Handover(outlet, handshake, nonce, self._peer.sent, self._peer.backlog, deadline)
            self._standby.begin(waiting)
            self._work.set()
            return None
        self._take_over(outlet, handshake)
        return before

    def uses(self, outlet: Outlet) -> bool:
        """Tell whether the session sends on a connection."""
        return self._outlet is outlet

    def _take_over(self, outlet: Outlet, handshake: HaipMessage, last_received: int | None = None) -> None:
        self._move(Trigger.ATTACH)
        self._outlet = outlet
        self._standby.notify()
        self._take(self._peer.enter(handshake, last_received=last_received))

    def _hand_over(self, *, is_delivered: bool) -> None:
        """Use the connection that waits.

        Args:
            is_delivered: Whether the frames on the connection before it have arrived.
        """
        handover, before = self._standby.finish(), self._outlet
        if handover is None:
            return
        self._take_over(handover.outlet, handover.handshake, handover.number if is_delivered else None)
        if before is not None:
            self._standby.retire(before)

    def detach(self, outlet: Outlet) -> None:
        """Note that a connection is lost or closed."""
        self._standby.remove(outlet)
        if self._outlet is outlet:
            self._move(Trigger.DETACH)
            self._outlet = None
            self.last_seen = self._clock()
            self._left_at = self._peer.sent
            self._peer.disconnect()
            self._written.set()

    def take_text(self, text: str) -> None:
        """Receive a text frame."""
        self._take(self._peer.receive_text(text))

    def take_binary(self, data: bytes) -> None:
        """Receive a binary frame."""
        self._take(self._peer.receive_binary(data))

    async def write_to(self, outlet: Outlet) -> None:
        """Write the queued frames to a connection, for as long as the session uses it or keeps it open."""
        while True:
            if self._outlet is not outlet:
                if outlet not in self._standby:
                    return
                overdue = await self._standby.wait(outlet)
                if overdue is not None and overdue is self._standby.handover:
                    self._hand_over(is_delivered=False)
                continue
            self._take(self._peer.tick())
            self._work.clear()
            async with self._writing:
                while (
                    self._outlet is outlet
                    and self._peer.backlog
                    and self._standby.may_write()
                    and (frame := self._peer.next_outgoing()) is not None
                ):
                    await outlet.write(frame)
                    if self._peer.backlog < MOST_UNWRITTEN:
                        self._written.set()
            self._written.set()
            if self._outlet is outlet and self.state is SessionState.REFUSED:
                for other in self._standby.clear():
                    await other.close(self._refusal, "refused")
                await outlet.close(self._refusal, "refused")
                return
            due = self._peer.due
            if due is None:
                await self._work.wait()
                continue
            with anyio.move_on_after(max(0.0, due - self._clock())):
                await self._work.wait()

    def ping(self) -> None:
        """Send the client a ping."""
        self._peer.ping()
        self._work.set()

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Write the queued frames and close the connection. Messages that have arrived can still be read."""
        self._inbox.close()
        for other in self._standby.clear():
            await other.close(reason, ending)
        outlet = self._outlet
        if outlet is not None:
            await self._drain()
            self.detach(outlet)
            await outlet.close(reason, ending)
        self._wake()

    async def room(self) -> None:
        """Wait until few frames wait to be written. For readers: each frame of a client may cause another."""
        if self._standby.handover is None:
            # The reply that ends a handover has to be read.
            await self._written_enough()

    async def _written_enough(self) -> None:
        while self.has_backlog:
            self._written.clear()
            await self._written.wait()

    def stop(self) -> None:
        """Drop the unread messages and cancel the tool calls. For sessions whose handler has ended."""
        self._inbox.drop()
        self._desk.cancel()

    async def end(self) -> None:
        """Close the session for good. It accepts no further connection."""
        await self._desk.join()
        await self.close("the session has ended")
        self._move(Trigger.END)
        self._peer.end()
        self._wake()

    def fail(self, error: HaipError) -> None:
        """Send the client an error."""
        self._peer.send_error(error)
        self._work.set()

    def refuse(self, error: HaipError) -> None:
        """Send the client an error, then close the connection."""
        self.fail(error)
        self._refuse(error)

    # Inside

    async def _ready(self) -> None:
        """Return if messages can be sent. Those that are sent without a connection are kept for the next one.

        Raises:
            HaipConnectionError: The session has ended, or no more messages can be kept.
        """
        if self._outlet is not None:
            return
        if self.state is SessionState.ENDED:
            raise HaipConnectionError("unable to send; the session has ended")
        if self._peer.keeps_no_more(self._left_at):
            raise HaipConnectionError(
                "unable to send; the client has left, and no more messages can be kept for it than the last"
                f" {self._peer.sent - self._left_at}"
            )
        # A loop of sends never waits for a connection, so it must let others run.
        await asyncio.sleep(0)

    async def _still_open(self) -> None:
        if self._inbox.is_closed and self._outlet is None:
            raise HaipConnectionError("unable to send; the session is closed, and there are no credits left")
        await self._ready()

    async def _flush(self) -> None:
        if self._outlet is None:
            # The frames stay available for a replay.
            self._peer.drop_outgoing()
            return
        if not self._writing.locked() and self._standby.handover is None:
            await self._write_at_once(self._outlet)
        if self._peer.backlog:
            self._work.set()
        if self.has_backlog:
            await self._written_enough()

    async def _write_at_once(self, outlet: Outlet) -> None:
        """Write queued frames from the sender's task: that saves the time to wake the writer."""
        async with self._writing:
            while self._outlet is outlet and (frame := self._peer.first_outgoing()) is not None:
                await outlet.write(frame)
                # Removed only now: a sender that is cancelled in between leaves the frame to the writer.
                if self._peer.first_outgoing() is frame:
                    self._peer.next_outgoing()
                self._at_once += 1
        if self._at_once >= _MOST_AT_ONCE:
            # A write rarely waits, so a loop of sends must let others run.
            self._at_once = 0
            await asyncio.sleep(0)

    @property
    def has_backlog(self) -> bool:
        """Whether so many frames wait to be written that senders and readers have to wait."""
        peer = self._peer
        if self._outlet is None:
            return False
        return peer.backlog > MOST_UNWRITTEN or peer.backlog_bytes > self._options.max_unwritten_bytes

    async def _drain(self) -> None:
        with anyio.move_on_after(self._options.close_timeout):
            while self.is_connected and self._peer.backlog:
                self._written.clear()
                self._work.set()
                await self._written.wait()

    def _answer(self, message: HaipMessage) -> None:
        """Queue a reply. The reader must not wait for credits, because it also receives the grants."""
        if not self._peer.send(message, queue=True):
            self._peer.ask_for_credits(message.envelope.channel or "SYSTEM")
        self._work.set()

    def _take(self, events: Sequence[PeerEvent]) -> None:
        for event in events:
            match event:
                case Handshaken():
                    if not event.resumed:
                        self._wake()
                case Received():
                    self._log_received(event.message)
                    self._take_message(event.message)
                case BinaryReceived():
                    self._deliver(event.data)
                case CreditsChanged():
                    self._take_grant(event)
                case Violated():
                    self._count(event)
                case _:
                    logger.warning(
                        "Session %s lost messages of its client: %s",
                        self.session_id,
                        event,
                        extra=self._known,
                    )
        self._nudge()

    def _take_message(self, message: HaipMessage) -> None:
        if message.type in _OF_THE_PROTOCOL:
            handover = self._standby.handover
            if handover is not None and message.payload.get("nonce") == handover.nonce:
                self._hand_over(is_delivered=True)
            return
        try:
            if message.type is HaipEventType.ERROR:
                self._note_run(message)
            message = self._with_run(message)
            replies = self._desk.take(message)
            for reply in replies or ():
                self._answer(reply)
            if replies is not None or self._take_run(message):
                self._note_read(message)
                return
        except HaipError as error:
            self._peer.send_error(error, message.id)
            self._note_read(message)
            return
        self._deliver(message)
        if message.type is HaipEventType.RUN_CANCEL and self._options.answers_cancel:
            self._answer_cancel(message)

    def _deliver(self, frame: HaipMessage | bytes) -> None:
        if self._inbox.is_closed:
            logger.debug("Session %s has ended; a message is dropped", self.session_id, extra=self._known)
        elif not self._inbox.add(frame):
            error = HaipError(
                f"unable to accept more messages; {len(self._inbox)} of {self._inbox.size} bytes wait for the"
                " application",
                HaipErrorCode.FLOW_CONTROL_VIOLATION,
            )
            self.refuse(error)

    def _note_read(self, message: HaipMessage) -> None:
        self._peer.note_read(message)
        self._nudge()

    def _nudge(self) -> None:
        """Wake the writer if there is anything to do for it."""
        if self._peer.backlog or self._peer.due is not None:
            self._work.set()

    def _with_run(self, message: HaipMessage) -> HaipMessage:
        """Assign a message without a run to the newest open run (specification 1.1.2)."""
        envelope = message.envelope
        run = self._runs.newest_open(envelope.thread_id)
        if run is None or envelope.run_id is not None or message.type in _ABOUT_RUNS:
            return message
        return replace(message, envelope=replace(envelope, run_id=run.id, thread_id=run.thread_id))

    def _take_run(self, message: HaipMessage) -> bool:
        """Update the registry of runs; return whether the message is not for the application."""
        if message.type not in _ABOUT_RUNS:
            return False
        run_id = message.envelope.run_id or message.payload.get("run_id")
        if not isinstance(run_id, str):
            raise HaipProtocolError(
                f"unable to accept {message.type}; its run id is missing", HaipErrorCode.MISSING_RUN_ID
            )
        if message.type is HaipEventType.RUN_STARTED:
            metadata = message.payload.get("metadata")
            echo = _about_run(message, run_id)
            # Checked first: a run that cannot be announced does not count as open.
            self._peer.check([echo])
            is_new = self._runs.start(
                run_id,
                self._clock(),
                thread_id=message.envelope.thread_id,
                metadata=metadata if isinstance(metadata, dict) else None,  # pyright: ignore[reportUnknownArgumentType]
            )
            # The reference client registers its own run only when the server announces it.
            self._answer(echo)
            return not is_new
        if message.type is HaipEventType.RUN_CANCEL and run_id in self._others:
            return False
        if self._runs.get(run_id) is None:
            raise HaipProtocolError(
                f"unable to accept {message.type}; run {run_id} is unknown", HaipErrorCode.RUN_NOT_FOUND
            )
        if message.type is not HaipEventType.RUN_CANCEL:
            self._note_run(message)
            if self._peer.is_lenient:
                # The reference client also registers the end only when the server announces it.
                self._peer.send_unchecked(_about_run(message, run_id))
        return False

    def _answer_cancel(self, message: HaipMessage) -> None:
        run = self._runs.finish(str(message.payload["run_id"]), self._clock(), "CANCELLED")
        if run is not None:
            self._peer.send_unchecked(self._end_of(run, {"status": "CANCELLED"}))
            self._work.set()

    def _count(self, violated: Violated) -> None:
        error = violated.error
        logger.warning(
            "The client of session %s violated the protocol: %s", self.session_id, error, extra=self._known
        )
        self._violations[error.code] += 1
        limits = {
            HaipErrorCode.FLOW_CONTROL_VIOLATION.value: self._options.max_flow_control_violations,
            HaipErrorCode.PROTOCOL_VIOLATION.value: self._options.max_protocol_violations,
        }
        if violated.fatal or self._violations[error.code] > limits.get(error.code, 100):
            self._violations.clear()
            self._refuse(error)

    def _refuse(self, error: HaipError) -> None:
        """Close the connection once the queued frames are written."""
        if self._move(Trigger.REFUSE):
            self._refusal = error.message
            self._work.set()

    def _move(self, trigger: Trigger) -> bool:
        """Follow the table of transitions; return whether it lists the trigger for the current state."""
        before, after = self.state, TRANSITIONS.get((self.state, trigger))
        if after is None:
            return False
        self.state = after
        logger.debug("Session %s: %s -> %s", self.session_id, before, after, extra=self._known)
        return True


def _about_run(message: HaipMessage, run_id: str) -> HaipMessage:
    """Build the announcement of a run, or of its end, from a message of the client."""
    envelope = HaipEnvelope(
        channel=message.envelope.channel, run_id=run_id, thread_id=message.envelope.thread_id
    )
    payload = dict(message.payload)
    if message.type is not HaipEventType.RUN_STARTED:
        payload = {key: value for key in _OF_AN_END if (value := payload.get(key)) is not None}
    return HaipMessage(message.type, {**payload, "run_id": run_id}, envelope)
