"""Participant: one HAIP client in the conversations of its threads."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Generic, cast

from ably_ai_transport import (
    AITransportError,
    ChannelClient,
    ClientRun,
    ClientSession,
    ErrorCode,
    SessionOptions,
)
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.gateway.approvals import read_decision
from ably_ai_transport_haip.gateway.follower import Follower
from ably_ai_transport_haip.gateway.invoke import Invoke
from ably_ai_transport_haip.gateway.runs import ClientRuns, GatewayRun, RunState
from ably_ai_transport_haip.gateway.threads import ChannelOf
from ably_ai_transport_haip.gateway.vocabulary import Sound, ToolPiece, Vocabulary
from ably_ai_transport_haip.protocol import (
    FinishStatus,
    HaipConnectionError,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
    new_id,
)
from ably_ai_transport_haip.server import HaipServerSession

logger = logging.getLogger("ably_ai_transport_haip.gateway")

MOST_THREADS: Final = 50
MOST_PENDING: Final = 100
_CODES: Final[Mapping[int, str]] = {
    ErrorCode.INVALID_ARGUMENT: HaipErrorCode.PROTOCOL_VIOLATION,
    ErrorCode.INSUFFICIENT_CAPABILITY: HaipErrorCode.AUTHENTICATION_FAILED,
}


@dataclass(slots=True)
class _Thread(Generic[InT, OutT, ProjT, MsgT]):
    """A conversation that the client has entered."""

    session: ClientSession[InT, OutT, ProjT, MsgT]
    follower: Follower[InT, OutT, ProjT, MsgT]


class Participant(Generic[InT, OutT, ProjT, MsgT]):
    """Maps the messages of one HAIP client to conversations, and follows these conversations for it.

    Args:
        haip: The session of the HAIP client.
        client: The Ably client that publishes for it.
        vocabulary: Reads and writes the messages of the conversations.
        channel_of: Returns the channel of a thread, and refuses clients that may not enter it.
        invoke: Invokes an agent.
        history: The number of earlier messages that the client receives when it enters a thread.
        session_options: Options of the sessions.
    """

    def __init__(
        self,
        haip: HaipServerSession,
        client: ChannelClient,
        vocabulary: Vocabulary[InT, OutT, ProjT, MsgT],
        channel_of: ChannelOf,
        invoke: Invoke,
        history: int,
        session_options: SessionOptions,
    ) -> None:
        self._haip = haip
        self._client = client
        self._vocabulary = vocabulary
        self._channel_of = channel_of
        self._invoke = invoke
        self._history = history
        self._session_options = session_options
        self._threads: dict[str, _Thread[InT, OutT, ProjT, MsgT]] = {}
        self._runs = ClientRuns[InT, OutT, ProjT, MsgT]()
        self._texts: dict[str, list[str]] = {}
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup

    async def serve(self) -> None:
        """Serve the client until its session ends."""
        async with self._stack, asyncio.TaskGroup() as self._tasks:
            try:
                async for message in self._haip.messages():
                    await self._take_safely(message)
            finally:
                # Closing a session closes its view, and that ends the follower.
                for thread in self._threads.values():
                    await thread.session.close()

    async def _take_safely(self, message: HaipMessage) -> None:
        try:
            await self._take(message)
        except (HaipError, AITransportError) as error:
            said = _haip_error(error) if isinstance(error, AITransportError) else error
            logger.debug("%s is refused: %s", message.type, error, extra=self._known(message.envelope.run_id))
            if message.type is HaipEventType.RUN_STARTED:
                run_id = message.envelope.run_id or str(message.payload.get("run_id"))
                self._runs.forget(run_id)
                await self._haip.fail_run(run_id, said, message.envelope.thread_id)
            else:
                self._haip.fail(said)

    async def _take(self, message: HaipMessage) -> None:
        payload = message.payload
        match message.type:
            case HaipEventType.RUN_STARTED:
                await self._start(message)
            case HaipEventType.MESSAGE_START | HaipEventType.MESSAGE_PART:
                self._collect_text(str(payload["message_id"]), str(payload.get("text") or ""))
            case HaipEventType.MESSAGE_END:
                message_id = str(payload["message_id"])
                await self._say(message_id, "".join(self._texts.pop(message_id, ())), message)
            case HaipEventType.AUDIO_CHUNK:
                run = await self._run_of(message)
                duration = payload.get("duration_ms")
                milliseconds = None if duration is None else int(str(duration))
                run.sounds.append(Sound(str(payload["mime"]), message.binary or b"", milliseconds))
            case HaipEventType.RUN_CANCEL:
                await self._cancel(str(payload["run_id"]))
            case HaipEventType.RUN_FINISHED | HaipEventType.RUN_ERROR:
                await self._finish(message)
            case HaipEventType.TOOL_DONE:
                status = cast("FinishStatus", payload.get("status") or "OK")
                await self._answer(message, status, payload.get("result"))
            case HaipEventType.TOOL_CANCEL:
                await self._answer(message, "CANCELLED", payload.get("reason"))
            case HaipEventType.TOOL_CALL:
                raise HaipProtocolError(
                    f"unable to find tool '{payload.get('tool')}'; this gateway has no tools",
                    HaipErrorCode.TOOL_NOT_FOUND,
                )
            case _:
                # Tools and progress of a client have no counterpart in a conversation.
                logger.debug("%s is ignored", message.type, extra=self._known(message.envelope.run_id))

    def _collect_text(self, message_id: str, text: str) -> None:
        if message_id not in self._texts and len(self._texts) >= MOST_PENDING:
            raise HaipProtocolError(
                f"unable to accept another text; {MOST_PENDING} are incomplete (send MESSAGE_END)",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        self._texts.setdefault(message_id, []).append(text)

    async def _start(self, message: HaipMessage) -> None:
        run_id = message.envelope.run_id or str(message.payload["run_id"])
        thread_id = message.envelope.thread_id or str(
            message.payload.get("thread_id") or self._haip.session_id
        )
        metadata = message.payload.get("metadata")
        wishes = cast("dict[str, Any]", metadata).get("ait") if isinstance(metadata, dict) else None
        wanted = cast("dict[str, Any]", wishes) if isinstance(wishes, dict) else {}
        run = GatewayRun[InT, OutT, ProjT, MsgT](run_id, thread_id, wanted)
        thread = await self._enter(thread_id)
        self._runs.add(run)
        replaced = self._wanted_message(run, "regenerate")
        if replaced is not None:
            await self._ask(run, thread.session.view.regenerate(replaced))

    async def _enter(self, thread_id: str) -> _Thread[InT, OutT, ProjT, MsgT]:
        """Return a thread. Entering it sends the client the earlier messages."""
        known = self._threads.get(thread_id)
        if known is not None:
            return known
        if len(self._threads) >= MOST_THREADS:
            raise HaipProtocolError(
                f"unable to enter thread; this session is already in {MOST_THREADS} threads",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        channel = await call(self._channel_of, self._haip.principal, thread_id)
        session = ClientSession(self._client, channel, codec=self._vocabulary.codec, **self._session_options)
        await self._stack.enter_async_context(session)
        session.on_error(lambda error: self._haip.fail(_haip_error(error)))
        await session.view.load_older(self._history)
        follower = Follower(
            self._haip,
            thread_id,
            session.view,
            session.tree,
            self._vocabulary,
            self._runs,
        )
        thread = self._threads[thread_id] = _Thread(session, follower)
        logger.info(
            "Thread %s: %s enters", thread_id, self._haip.principal.id, extra=self._known(None, channel)
        )
        self._spawn(follower.follow())
        return thread

    async def _say(self, message_id: str, text: str, message: HaipMessage) -> None:
        """Take a text of the client. The state of its run decides what it does."""
        run = await self._run_of(message)
        view = self._threads[run.thread_id].session.view
        sounds, run.sounds = run.sounds, []
        event = self._vocabulary.user_message(message_id, text, sounds)
        self._runs.add_message(message_id)
        match run.state, run.asked:
            case RunState.NEW, _:
                replaced, parent = (self._wanted_message(run, key) for key in ("fork_of", "parent"))
                await self._ask(
                    run,
                    view.send(event, parent=parent) if replaced is None else view.edit(replaced, event),
                )
            case RunState.REQUESTED | RunState.ACTIVE, ClientRun() as asked:
                steered = asked.steer(event)
                self._spawn(_settle(steered.published))
                self._spawn(_settle(steered.outcome))
            case RunState.SUSPENDED, ClientRun() as asked:
                await self._ask(run, view.send(event, run_id=asked.run_id))
            case _:
                raise HaipProtocolError(
                    f"unable to send text; run {run.id} has ended (start another)",
                    HaipErrorCode.RUN_NOT_FOUND,
                )

    def _wanted_message(self, run: GatewayRun[InT, OutT, ProjT, MsgT], wish: str) -> str | None:
        """Return the message that a wish names, by its id in the conversation."""
        said = run.wishes.get(wish)
        follower = self._threads[run.thread_id].follower
        return follower.codec_message_id(said) if isinstance(said, str) else None

    async def _run_of(self, message: HaipMessage) -> GatewayRun[InT, OutT, ProjT, MsgT]:
        """Return the run of a message. A message without a run starts one."""
        run_id = message.envelope.run_id
        run = None if run_id is None else self._runs.get(run_id)
        if run is not None:
            return run
        if run_id is not None:
            raise HaipProtocolError(
                f"unable to send to run {run_id}; it has ended, or is no run of this client (start another)",
                HaipErrorCode.RUN_NOT_FOUND,
            )
        thread_id = message.envelope.thread_id or self._haip.session_id
        # Entered first: a run on a thread that the client may not enter would stay open.
        await self._enter(thread_id)
        run = GatewayRun[InT, OutT, ProjT, MsgT](await self._haip.start_run(thread_id), thread_id, {})
        self._runs.add(run)
        return run

    async def _ask(
        self,
        run: GatewayRun[InT, OutT, ProjT, MsgT],
        sending: Coroutine[Any, Any, ClientRun[InT, OutT, ProjT, MsgT]],
    ) -> None:
        run.asked = await sending
        logger.debug("Run %s invokes an agent", run.id, extra=self._known(run.id))
        self._spawn(self._invoke_agent(run, run.asked))

    async def _invoke_agent(
        self, run: GatewayRun[InT, OutT, ProjT, MsgT], asked: ClientRun[InT, OutT, ProjT, MsgT]
    ) -> None:
        try:
            await call(self._invoke, asked.to_invocation())
        except Exception as error:  # `invoke` is a user's code
            logger.exception("Unable to call the agent for run %s", run.id, extra=self._known(run.id))
            # Only the type is sent: the text of an exception may hold secrets.
            said = f"unable to call the agent ({type(error).__name__})"
            self._give_up(run)
            await self._haip.fail_run(run.id, HaipError(said, HaipErrorCode.SERVER_ERROR), run.thread_id)

    async def _cancel(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            for thread in self._threads.values():
                native = thread.follower.native_run(run_id)
                if native is not None:
                    await thread.session.cancel(native)
            return
        match run.state, run.asked:
            case RunState.ACTIVE, ClientRun() as asked:
                # The agent decides, and ends the run.
                await asked.cancel()
            case RunState.OVER, _:
                pass
            case _, asked:
                # No agent works on the run, and none may ever come: it ends here, and the cancel waits for
                # the agent.
                self._give_up(run)
                if asked is not None:
                    await asked.cancel()
                    self._spawn(_cancel_once_started(asked))
                await self._haip.end_run(run_id, "CANCELLED", run.thread_id)

    def _give_up(self, run: GatewayRun[InT, OutT, ProjT, MsgT]) -> None:
        """Forget a run that ends for the client, although an agent may still take it up."""
        self._runs.give_up(run)
        thread = self._threads.get(run.thread_id)
        if thread is not None:
            thread.follower.forget_run(run.id)

    async def _finish(self, message: HaipMessage) -> None:
        """Take the end of a run by the client. Only agents end runs, so a run that failed is cancelled."""
        run = self._runs.get(message.envelope.run_id or str(message.payload.get("run_id")))
        if run is None:
            return
        failed = message.type is HaipEventType.RUN_ERROR or message.payload.get("status") in (
            "CANCELLED",
            "ERROR",
        )
        if run.sounds and not failed:
            await self._say(new_id(), "", message)
        if failed:
            await self._cancel(run.id)
        run.is_finished = True

    async def _answer(self, message: HaipMessage, status: FinishStatus, result: object) -> None:
        """Answer a tool call of an agent, and continue its run."""
        call_id = str(message.payload["call_id"])
        for thread_id, thread in self._threads.items():
            told = thread.follower.call(call_id)
            if told is None:
                continue
            codec_message_id, piece = told
            if piece.status is not None:
                return
            view = thread.session.view
            info = view.run_of(codec_message_id)
            if info is not None and info.status not in ("active", "suspended"):
                raise HaipProtocolError(
                    f"unable to answer call {call_id}; its run has ended (agents suspend a run that waits)",
                    HaipErrorCode.RUN_NOT_FOUND,
                    {"call_id": call_id},
                )
            event = self._answer_to(call_id, codec_message_id, piece, status, result)
            native = None if info is None else info.run_id
            run = self._run_named(native, thread_id, thread.follower)
            await self._ask(run, view.send(event, run_id=native))
            return
        raise HaipProtocolError(
            f"unable to answer call {call_id}; it is unknown", HaipErrorCode.TOOL_NOT_FOUND
        )

    def _answer_to(
        self, call_id: str, codec_message_id: str, piece: ToolPiece, status: FinishStatus, result: object
    ) -> InT:
        if piece.approval is not None:
            # Also after a decision: the agent may have refused it, because its client may not approve.
            decision = read_decision(call_id, piece.approval, status, result)
            return self._vocabulary.decision(codec_message_id, piece, decision.approved, decision.reason)
        if piece.awaits_result:
            return self._vocabulary.answer(codec_message_id, piece, status, result)
        raise HaipProtocolError(
            f"unable to answer call {call_id}; it has been answered, or its agent runs the tool",
            HaipErrorCode.PROTOCOL_VIOLATION,
            {"call_id": call_id},
        )

    def _run_named(
        self, native: str | None, thread_id: str, follower: Follower[InT, OutT, ProjT, MsgT]
    ) -> GatewayRun[InT, OutT, ProjT, MsgT]:
        """Return the run of the client for a run of the conversation, under the name that it knows."""
        known = None if native is None else follower.name_of_run(native) or self._runs.name_of(native)
        run = None if known is None else self._runs.get(known)
        if run is None:
            run = GatewayRun[InT, OutT, ProjT, MsgT](known or new_id(), thread_id, {})
            self._runs.add(run)
        return run

    def _known(self, run_id: str | None, channel: str | None = None) -> dict[str, object]:
        """Return the context of a log record."""
        return {"haip_session": self._haip.session_id, "run": run_id, "session": channel}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except HaipConnectionError as error:
                logger.debug("The HAIP session has ended: %s", error, extra=self._known(None))
            except Exception:  # one that escapes would cancel the participant's task group
                logger.exception("A task of the gateway failed", extra=self._known(None))
                self._haip.fail(HaipError("the gateway failed; see its log", HaipErrorCode.SERVER_ERROR))

        self._tasks.create_task(guarded())


async def _settle(outcome: Awaitable[object]) -> None:
    """Await the outcome of a steering message. The session reports its failure as an error."""
    try:
        await outcome
    except AITransportError as error:
        logger.debug("A steering message was not taken: %s", error)


async def _cancel_once_started(asked: ClientRun[Any, Any, Any, Any]) -> None:
    """Cancel a run again once an agent has taken it up, for agents that see only what comes after them."""
    try:
        await asked.started
        if asked.status == "active":
            await asked.cancel()
    except AITransportError as error:
        logger.debug("A run was not cancelled: %s", error)


def _haip_error(error: AITransportError) -> HaipError:
    """Return the HAIP error for an error of a conversation."""
    code = _CODES.get(int(error.code), HaipErrorCode.SERVER_ERROR)
    return HaipError(error.message, code, {"code": int(error.code)})
