"""Tells a HAIP client what is new in a conversation."""

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, cast

import anyio

from ably_ai_transport import CodecMessage, OutputFolded, RunInfo, SessionTree, View
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.vocabulary import Piece, Sound, TextPiece, ToolPiece, Vocabulary
from ably_ai_transport_haip.protocol import (
    FinishStatus,
    HaipChannel,
    HaipEnvelope,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
)
from ably_ai_transport_haip.server import HaipServerSession

logger = logging.getLogger("ably_ai_transport_haip")

PART_CHARACTERS: Final = 8000
KEPT_SOUNDS: Final = 200
_NAMES: Final = uuid.UUID("6f5d1a39-7d0c-4c52-9f0e-9b5f6f6d1c11")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDS: Final[dict[str, FinishStatus]] = {"complete": "OK", "cancelled": "CANCELLED", "error": "ERROR"}


@dataclass(slots=True)
class _Told:
    """What the client knows of one piece."""

    id: str
    text: str = ""
    is_over: bool = False
    partial: object = None
    envelope: HaipEnvelope | None = None


class Follower(Generic[InT, OutT, ProjT, MsgT]):
    """Tells one HAIP client what is new in one conversation, as fast as its credits allow.

    It compares what is there with what the client has been told, and tells the difference. So who comes late
    hears each text as one part, who is slow hears fewer and longer parts, and nobody waits for a client that
    has no credits.

    Args:
        haip: The client's session.
        thread_id: The conversation, as the client names it.
        view: The conversation.
        tree: The same, on all branches.
        vocabulary: Reads its messages.
        run_of: Returns the client's own name of a run; None where it is somebody else's.
        is_own: Tells whether the client itself said a message.
    """

    def __init__(
        self,
        haip: HaipServerSession,
        thread_id: str,
        view: View[InT, OutT, ProjT, MsgT],
        tree: SessionTree[InT, OutT, ProjT, MsgT],
        vocabulary: Vocabulary[InT, OutT, ProjT, MsgT],
        run_of: Callable[[str], str | None],
        is_own: Callable[[str], bool],
    ) -> None:
        self._haip = haip
        self._thread_id = thread_id
        self._view = view
        self._vocabulary = vocabulary
        self._run_of = run_of
        self._is_own = is_own
        self._told: dict[tuple[str, int], _Told] = {}
        self._over: set[str] = set()
        self._runs: dict[str, str] = {}
        self._ended: set[str] = set()
        self._calls: dict[str, tuple[str, ToolPiece]] = {}
        self._messages: dict[str, str] = {}
        self._sounds, self._passing = anyio.create_memory_object_stream[Sound](KEPT_SOUNDS)
        self._off = tree.on_output(self._take_output)

    def call(self, call_id: str) -> tuple[str, ToolPiece] | None:
        """Return the message and the call that the client was told of under an id."""
        return self._calls.get(call_id)

    def codec_message_id(self, message_id: str) -> str:
        """Return the conversation's id of a message that the client was told of under another."""
        return self._messages.get(message_id, message_id)

    def conversation_run(self, run_id: str) -> str | None:
        """Return the conversation's id of a run that the client was told of under another."""
        return next((native for native, told in self._runs.items() if told == run_id), None)

    async def follow(self) -> None:
        """Tell what is there, and what comes, until the view is closed."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell_passing)
                async for messages in self._view.updates():
                    await self._tell(messages)
                tasks.cancel_scope.cancel()
        finally:
            self._off()
            self._sounds.close()
            self._passing.close()

    async def _tell(self, messages: list[CodecMessage[MsgT]]) -> None:
        there: set[tuple[str, int]] = set()
        for entry in messages:
            if entry.codec_message_id not in self._over:
                number = await self._tell_message(entry)
                there.update((entry.codec_message_id, place) for place in range(number))
        await self._end_what_is_gone(there)
        for run in self._view.runs():
            if run.status in _ENDS and run.run_id not in self._ended:
                self._ended.add(run.run_id)
                await self._tell_end(run)

    async def _end_what_is_gone(self, there: set[tuple[str, int]]) -> None:
        """End texts that have been taken back, or are on a branch that is not shown any more."""
        for key, told in self._told.items():
            if told.envelope is not None and not told.is_over and key not in there:
                await self._end_text(told, told.envelope)

    async def _tell_message(self, entry: CodecMessage[MsgT]) -> int:
        """Tell what is new of a message; returns how many pieces it has."""
        vocabulary, message = self._vocabulary, entry.message
        if vocabulary.is_from_person(message):
            self._over.add(entry.codec_message_id)
            said_by = vocabulary.message_id(message)
            if said_by is not None and self._is_own(said_by):
                self._messages[said_by] = entry.codec_message_id
                return 0
            channel, author, run_id, is_over, rests = HaipChannel.USER, "user", None, True, True
        else:
            run = self._view.run_of(entry.codec_message_id)
            run_id = None if run is None else await self._tell_start(run)
            is_over = run is None or run.status in _ENDS
            rests = is_over or (run is not None and run.status == "suspended")
            channel, author = HaipChannel.AGENT, "agent"
        envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=self._thread_id)
        pieces = vocabulary.pieces(message)
        for place, piece in enumerate(pieces):
            is_last = place == len(pieces) - 1
            key = (entry.codec_message_id, place)
            await self._tell_piece(key, piece, envelope, author, is_over=rests or not is_last)
        if is_over:
            self._over.add(entry.codec_message_id)
        return len(pieces)

    async def _tell_start(self, run: RunInfo) -> str:
        """Tell of a run, once; returns the client's name for it."""
        known = self._runs.get(run.run_id)
        if known is not None:
            return known
        own = self._run_of(run.run_id)
        name = self._runs[run.run_id] = own or _uuid_of(run.run_id)
        if own is None:
            await self._haip.announce_run(name, self._thread_id, {"client_id": run.client_id})
        return name

    async def _tell_end(self, run: RunInfo) -> None:
        name = await self._tell_start(run)
        if run.status == "error":
            said = "the run failed" if run.error is None else run.error.message
            error = HaipError(said, HaipErrorCode.SERVER_ERROR)
            await self._haip.fail_run(name, error, self._thread_id)
        else:
            await self._haip.end_run(name, _ENDS[run.status], self._thread_id)

    async def _tell_piece(
        self, key: tuple[str, int], piece: Piece, envelope: HaipEnvelope, author: str, *, is_over: bool
    ) -> None:
        match piece:
            case TextPiece():
                await self._tell_text(key, piece, envelope, author, is_over=is_over or piece.is_done)
            case ToolPiece():
                await self._tell_tool(key, piece, envelope)
            case Sound():
                if key not in self._told:
                    self._told[key] = _Told(_name_of(key))
                    await self._tell_sound(self._told[key].id, piece, envelope)

    async def _tell_text(
        self, key: tuple[str, int], piece: TextPiece, envelope: HaipEnvelope, author: str, *, is_over: bool
    ) -> None:
        told = self._told.get(key)
        if told is not None and not piece.text.startswith(told.text):
            # What was said has been taken back, by a step that was done again: say the new text as another.
            await self._end_text(told, envelope)
            told = None
        if told is not None and told.is_over and told.text != piece.text:
            # A message that has ended cannot go on: the rest is another.
            told = await self._begin_text(key, told.text, envelope, author)
        if told is None:
            if not piece.text and not is_over:
                return
            told = await self._begin_text(key, "", envelope, author)
        while len(told.text) < len(piece.text):
            text = piece.text[len(told.text) : len(told.text) + PART_CHARACTERS]
            await self._send(HaipEventType.MESSAGE_PART, {"message_id": told.id, "text": text}, envelope)
            told.text += text
        if is_over:
            await self._end_text(told, envelope)

    async def _begin_text(
        self, key: tuple[str, int], known: str, envelope: HaipEnvelope, author: str
    ) -> _Told:
        name = _name_of(key) if key not in self._told else str(uuid.uuid4())
        told = _Told(name, known, envelope=envelope)
        self._told[key] = told
        self._messages[told.id] = key[0]
        await self._send(HaipEventType.MESSAGE_START, {"message_id": told.id, "author": author}, envelope)
        return told

    async def _end_text(self, told: _Told, envelope: HaipEnvelope) -> None:
        if not told.is_over:
            told.is_over = True
            await self._send(HaipEventType.MESSAGE_END, {"message_id": told.id}, envelope)

    async def _tell_tool(self, key: tuple[str, int], piece: ToolPiece, envelope: HaipEnvelope) -> None:
        if piece.params is None and piece.status is None:
            return
        told = self._told.get(key)
        if told is None:
            told = self._told[key] = _Told(_uuid_of(piece.call_id))
            is_object = isinstance(piece.params, dict)
            params = cast("object", piece.params) if is_object else {"input": piece.params}
            call: dict[str, object] = {"call_id": told.id, "tool": piece.tool, "params": params}
            await self._send(HaipEventType.TOOL_CALL, call, envelope)
        self._calls[told.id] = (key[0], piece)
        if piece.status is not None and not told.is_over:
            told.is_over = True
            done = {"call_id": told.id, "status": piece.status, "result": piece.result}
            await self._send(HaipEventType.TOOL_DONE, done, envelope)
        elif piece.status is None and piece.result is not None and piece.result != told.partial:
            told.partial = piece.result
            update = {"call_id": told.id, "status": "RUNNING", "partial": piece.result}
            await self._send(HaipEventType.TOOL_UPDATE, update, envelope)

    async def _tell_passing(self) -> None:
        async for sound in self._passing:
            envelope = HaipEnvelope(thread_id=self._thread_id)
            await self._tell_sound(str(uuid.uuid4()), sound, envelope)

    async def _tell_sound(self, message_id: str, sound: Sound, envelope: HaipEnvelope) -> None:
        await self._haip.send_audio_chunk(
            HaipChannel.AUDIO_OUT,
            message_id,
            sound.mime,
            sound.data,
            sound.duration_ms,
            envelope.run_id,
            envelope.thread_id,
        )

    async def _send(
        self, event: HaipEventType, payload: Mapping[str, object], envelope: HaipEnvelope
    ) -> None:
        await self._haip.send_message(HaipMessage(event, payload, envelope))

    def _take_output(self, folded: OutputFolded[InT, OutT]) -> None:
        for output in folded.events:
            sound = self._vocabulary.passing(output)
            if sound is None:
                continue
            try:
                self._sounds.send_nowait(sound)
            except anyio.WouldBlock:
                logger.warning(
                    "Session %s is too slow for its sound; some is left out", self._haip.session_id
                )


def _name_of(key: tuple[str, int]) -> str:
    """Return the id under which a piece is told: the message's own for its first."""
    codec_message_id, place = key
    return _uuid_of(codec_message_id if place == 0 else f"{codec_message_id}#{place}")


def _uuid_of(name: str) -> str:
    return name if _UUID.fullmatch(name) else str(uuid.uuid5(_NAMES, name))
