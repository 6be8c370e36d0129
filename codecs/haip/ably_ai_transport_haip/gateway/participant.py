"""One HAIP client in the conversations of its threads."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, cast

from ably_ai_transport import AITransportError, ChannelClient, ClientRun, ClientSession, ErrorCode
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.follower import Follower
from ably_ai_transport_haip.gateway.invoke import Invoke
from ably_ai_transport_haip.gateway.vocabulary import Sound, Vocabulary
from ably_ai_transport_haip.protocol import (
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
    new_id,
)
from ably_ai_transport_haip.server import HaipServerSession

logger = logging.getLogger("ably_ai_transport_haip")

MOST_THREADS: Final = 50
MOST_PENDING: Final = 100
_CODES: Final[Mapping[int, str]] = {
    ErrorCode.INVALID_ARGUMENT: HaipErrorCode.PROTOCOL_VIOLATION,
    ErrorCode.INSUFFICIENT_CAPABILITY: HaipErrorCode.AUTHENTICATION_FAILED,
}


@dataclass(slots=True)
class _Thread(Generic[InT, OutT, ProjT, MsgT]):
    """A conversation that the client takes part in."""

    session: ClientSession[InT, OutT, ProjT, MsgT]
    follower: Follower[InT, OutT, ProjT, MsgT]


@dataclass(slots=True)
class _Run(Generic[InT, OutT, ProjT, MsgT]):
    """A run of the client, and what it led to in the conversation."""

    id: str
    thread_id: str
    metadata: Mapping[str, Any]
    asked: ClientRun[InT, OutT, ProjT, MsgT] | None = None
    sounds: list[Sound] = field(default_factory=list[Sound])


class Participant(Generic[InT, OutT, ProjT, MsgT]):
    """Takes what a HAIP client says into conversations, and tells it what goes on in them.

    Args:
        haip: The client's session.
        client: The Ably client that speaks for it.
        vocabulary: The messages of the conversations.
        channel_of: Names the channel of a thread; raises where the client may not enter.
        invoke: Calls an agent.
        history: How many messages of a conversation a client is told that enters it.
    """

    def __init__(
        self,
        haip: HaipServerSession,
        client: ChannelClient,
        vocabulary: Vocabulary[InT, OutT, ProjT, MsgT],
        channel_of: Callable[[str], str],
        invoke: Invoke,
        history: int,
    ) -> None:
        self._haip = haip
        self._client = client
        self._vocabulary = vocabulary
        self._channel_of = channel_of
        self._invoke = invoke
        self._history = history
        self._threads: dict[str, _Thread[InT, OutT, ProjT, MsgT]] = {}
        self._runs: dict[str, _Run[InT, OutT, ProjT, MsgT]] = {}
        self._texts: dict[str, list[str]] = {}
        self._own: set[str] = set()
        self._stack = AsyncExitStack()
        self._tasks: asyncio.TaskGroup

    async def take_part(self) -> None:
        """Serve the client until its session ends."""
        async with self._stack, asyncio.TaskGroup() as self._tasks:
            try:
                async for message in self._haip.messages():
                    await self._take_safely(message)
            finally:
                # Views end with their sessions, and followers with their views.
                for thread in self._threads.values():
                    await thread.session.close()

    async def _take_safely(self, message: HaipMessage) -> None:
        try:
            await self._take(message)
        except (HaipError, AITransportError) as error:
            said = _said(error) if isinstance(error, AITransportError) else error
            if message.type is HaipEventType.RUN_STARTED:
                run_id = message.envelope.run_id or str(message.payload.get("run_id"))
                await self._haip.fail_run(run_id, said, message.envelope.thread_id)
            else:
                self._haip.fail(said)

    async def _take(self, message: HaipMessage) -> None:
        payload = message.payload
        match message.type:
            case HaipEventType.RUN_STARTED:
                await self._start(message)
            case HaipEventType.MESSAGE_START | HaipEventType.MESSAGE_PART:
                self._collect(str(payload["message_id"]), str(payload.get("text") or ""))
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
                status = cast('Literal["OK", "CANCELLED", "ERROR"]', payload.get("status") or "OK")
                await self._answer(message, status, payload.get("result"))
            case HaipEventType.TOOL_CANCEL:
                await self._answer(message, "CANCELLED", payload.get("reason"))
            case HaipEventType.TOOL_CALL:
                raise HaipProtocolError(
                    f"unable to find tool '{payload.get('tool')}'; this gateway offers none",
                    HaipErrorCode.TOOL_NOT_FOUND,
                )
            case _:
                # What a client can do, and how far it is, has no place in a conversation.
                logger.debug("A gateway has no use for %s", message.type)

    def _collect(self, message_id: str, text: str) -> None:
        if message_id not in self._texts and len(self._texts) >= MOST_PENDING:
            raise HaipProtocolError(
                f"unable to take another text; {MOST_PENDING} have begun and not ended",
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
        run = _Run[InT, OutT, ProjT, MsgT](run_id, thread_id, wanted)
        thread = await self._enter(thread_id)
        self._runs[run_id] = run
        replaced = self._wanted_message(run, "regenerate")
        if replaced is not None:
            await self._ask(run, thread.session.view.regenerate(replaced))

    async def _enter(self, thread_id: str) -> _Thread[InT, OutT, ProjT, MsgT]:
        """Return a thread; the client is told what is there when it enters."""
        known = self._threads.get(thread_id)
        if known is not None:
            return known
        if len(self._threads) >= MOST_THREADS:
            raise HaipProtocolError(
                f"unable to enter thread; this session is in {MOST_THREADS} already",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        session = ClientSession(self._client, self._channel_of(thread_id), codec=self._vocabulary.codec)
        await self._stack.enter_async_context(session)
        session.on_error(lambda error: self._haip.fail(_said(error)))
        await session.view.load_older(self._history)
        follower = Follower(
            self._haip,
            thread_id,
            session.view,
            session.tree,
            self._vocabulary,
            self._name_of,
            self._own.__contains__,
        )
        thread = self._threads[thread_id] = _Thread(session, follower)
        self._spawn(follower.follow())
        return thread

    async def _say(self, message_id: str, text: str, message: HaipMessage) -> None:
        """Say something: a run's first text asks an agent, further ones steer it, or answer it."""
        run = await self._run_of(message)
        view = self._threads[run.thread_id].session.view
        sounds, run.sounds = run.sounds, []
        event = self._vocabulary.user_message(message_id, text, sounds)
        self._own.add(message_id)
        asked = run.asked
        if asked is None:
            replaced, parent = (self._wanted_message(run, key) for key in ("fork_of", "parent"))
            await self._ask(
                run,
                view.send(event, parent=parent) if replaced is None else view.edit(replaced, event),
            )
        elif not asked.started.is_settled or asked.status == "active":
            steered = asked.steer(event)
            self._spawn(_ignore(steered.published))
            self._spawn(_ignore(steered.outcome))
        elif asked.status == "suspended":
            await self._ask(run, view.send(event, run_id=asked.run_id))
        else:
            raise HaipProtocolError(
                f"unable to say more; run {run.id} is over (start another)", HaipErrorCode.RUN_NOT_FOUND
            )

    def _wanted_message(self, run: _Run[InT, OutT, ProjT, MsgT], wish: str) -> str | None:
        """Return the message of the conversation that a client's wish names."""
        said = run.metadata.get(wish)
        follower = self._threads[run.thread_id].follower
        return follower.codec_message_id(said) if isinstance(said, str) else None

    async def _run_of(self, message: HaipMessage) -> _Run[InT, OutT, ProjT, MsgT]:
        """Return the run that a message belongs to; what belongs to none begins one."""
        run_id = message.envelope.run_id
        run = None if run_id is None else self._runs.get(run_id)
        if run is not None:
            return run
        if run_id is not None:
            raise HaipProtocolError(
                f"unable to say something in run {run_id}; it is not this client's",
                HaipErrorCode.RUN_NOT_FOUND,
            )
        thread_id = message.envelope.thread_id or self._haip.session_id
        run = _Run[InT, OutT, ProjT, MsgT](await self._haip.start_run(thread_id), thread_id, {})
        await self._enter(thread_id)
        self._runs[run.id] = run
        return run

    async def _ask(
        self,
        run: _Run[InT, OutT, ProjT, MsgT],
        sending: Coroutine[Any, Any, ClientRun[InT, OutT, ProjT, MsgT]],
    ) -> None:
        run.asked = await sending
        self._spawn(self._call_agent(run, run.asked))

    async def _call_agent(
        self, run: _Run[InT, OutT, ProjT, MsgT], asked: ClientRun[InT, OutT, ProjT, MsgT]
    ) -> None:
        try:
            await self._invoke(asked.to_invocation())
        except Exception as error:
            logger.exception("Unable to call the agent for run %s", run.id)
            # The text of an exception may hold secrets; it is in the log.
            said = f"unable to call the agent ({type(error).__name__})"
            await self._haip.fail_run(run.id, HaipError(said, HaipErrorCode.SERVER_ERROR), run.thread_id)

    async def _cancel(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            for thread in self._threads.values():
                ours = thread.follower.conversation_run(run_id)
                if ours is not None:
                    await thread.session.cancel(ours)
        elif run.asked is None:
            await self._haip.end_run(run_id, "CANCELLED", run.thread_id)
        else:
            await run.asked.cancel()

    async def _finish(self, message: HaipMessage) -> None:
        """Close a run of the client. Only an agent ends a run for all: one that failed here is cancelled."""
        run = self._runs.get(message.envelope.run_id or str(message.payload.get("run_id")))
        if run is None:
            return
        failed = message.type is HaipEventType.RUN_ERROR or message.payload.get("status") in (
            "CANCELLED",
            "ERROR",
        )
        if run.sounds and not failed:
            await self._say(new_id(), "", message)
        if run.asked is not None and failed:
            await run.asked.cancel()

    async def _answer(
        self, message: HaipMessage, status: Literal["OK", "CANCELLED", "ERROR"], result: object
    ) -> None:
        """Answer a call of an agent, and have it go on."""
        call_id = str(message.payload["call_id"])
        for thread_id, thread in self._threads.items():
            call = thread.follower.call(call_id)
            if call is None:
                continue
            codec_message_id, piece = call
            if piece.status is not None:
                return
            event = self._vocabulary.answer(codec_message_id, piece, status, result)
            view = thread.session.view
            info = view.run_of(codec_message_id)
            native = None if info is None else info.run_id
            name = (None if native is None else self._name_of(native)) or new_id()
            run = self._runs.get(name) or _Run[InT, OutT, ProjT, MsgT](name, thread_id, {})
            self._runs[name] = run
            await self._ask(run, view.send(event, run_id=native))
            return
        raise HaipProtocolError(
            f"unable to answer call {call_id}; it is not known", HaipErrorCode.TOOL_NOT_FOUND
        )

    def _name_of(self, run_id: str) -> str | None:
        """Return the client's own name of a run of the conversation."""
        for run in self._runs.values():
            if run.asked is not None and run.asked.run_id == run_id:
                return run.id
        return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                logger.exception("A task of session %s failed", self._haip.session_id)

        self._tasks.create_task(guarded())


async def _ignore(settled: Any) -> None:  # noqa: ANN401 - whatever it settles to
    """Await what nobody else awaits; why it failed is told as an error of the session."""
    try:
        await settled
    except AITransportError as error:
        logger.debug("A steering message went nowhere: %s", error)


def _said(error: AITransportError) -> HaipError:
    """Say to a HAIP client what went wrong in a conversation."""
    code = _CODES.get(int(error.code), HaipErrorCode.SERVER_ERROR)
    return HaipError(error.message, code, {"code": int(error.code)})
