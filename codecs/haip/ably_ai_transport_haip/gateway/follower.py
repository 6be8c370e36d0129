"""Follower: sends a HAIP client the news of one conversation."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic

import anyio

from ably_ai_transport import CodecMessage, OutputFolded, RunInfo, SessionTree, View
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.approvals import mark_of
from ably_ai_transport_haip.gateway.runs import ClientRuns
from ably_ai_transport_haip.gateway.vocabulary import Approval, Piece, Sound, TextPiece, ToolPiece, Vocabulary
from ably_ai_transport_haip.protocol import (
    FinishStatus,
    HaipChannel,
    HaipConnectionError,
    HaipEnvelope,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipFlowControlError,
    HaipMessage,
)
from ably_ai_transport_haip.protocol.messages import UUID_FORM
from ably_ai_transport_haip.server import HaipServerSession

logger = logging.getLogger("ably_ai_transport_haip.gateway")

PART_CHARACTERS: Final = 8000
KEPT_SOUNDS: Final = 200
_NAMES: Final = uuid.UUID("6f5d1a39-7d0c-4c52-9f0e-9b5f6f6d1c11")
_ENDS: Final[dict[str, FinishStatus]] = {"complete": "OK", "cancelled": "CANCELLED", "error": "ERROR"}


@dataclass(slots=True)
class _Sent:
    """The part of one piece that the client has received."""

    id: str
    text: str = ""
    is_over: bool = False
    partial: object = None
    approval: Approval | None = None
    envelope: HaipEnvelope | None = None


class Follower(Generic[InT, OutT, ProjT, MsgT]):
    """Sends one HAIP client the news of one conversation, as fast as its credits allow.

    It compares the view with the parts that the client has received, and sends the difference. A late joiner
    receives each text as one part. A slow client receives fewer and longer parts. A client without credits
    blocks no other participant.

    Args:
        haip: The session of the client.
        thread_id: The thread, as the client names it.
        view: The view of the conversation.
        tree: The tree of the conversation.
        vocabulary: Reads the messages of the conversation.
        own: The runs and the messages of the client.
    """

    def __init__(
        self,
        haip: HaipServerSession,
        thread_id: str,
        view: View[InT, OutT, ProjT, MsgT],
        tree: SessionTree[InT, OutT, ProjT, MsgT],
        vocabulary: Vocabulary[InT, OutT, ProjT, MsgT],
        own: ClientRuns[InT, OutT, ProjT, MsgT],
    ) -> None:
        self._haip = haip
        self._thread_id = thread_id
        self._known = {"haip_session": haip.session_id, "haip_thread": thread_id}
        self._view = view
        self._vocabulary = vocabulary
        self._own = own
        self._sent: dict[tuple[str, int], _Sent] = {}
        self._over: set[str] = set()
        self._runs: dict[str, str] = {}
        self._ended: set[str] = set()
        self._calls: dict[str, tuple[str, str]] = {}
        self._messages: dict[str, str] = {}
        self._sounds, self._passing = anyio.create_memory_object_stream[Sound](KEPT_SOUNDS)
        self._off = tree.on_output(self._take_output)

    def call(self, call_id: str) -> tuple[str, ToolPiece] | None:
        """Return the message and the current state of a tool call; None for a call that the view lacks.

        Args:
            call_id: The id of the call that the client knows.
        """
        codec_message_id, native_id = self._calls.get(call_id, (None, None))
        for entry in self._view.messages:
            if entry.codec_message_id == codec_message_id:
                for piece in self._vocabulary.pieces(entry.message):
                    if isinstance(piece, ToolPiece) and piece.call_id == native_id:
                        return entry.codec_message_id, piece
        return None

    def codec_message_id(self, message_id: str) -> str:
        """Return the id of a message in the conversation, from the id that the client knows."""
        return self._messages.get(message_id, message_id)

    def native_run(self, run_id: str) -> str | None:
        """Return the id of a run in the conversation, from the id that the client knows."""
        return next((native for native, sent in self._runs.items() if sent == run_id), None)

    def name_of_run(self, native_id: str) -> str | None:
        """Return the id that the client knows a run by; None for a run that is not announced."""
        return self._runs.get(native_id)

    def forget_run(self, run_id: str) -> None:
        """Forget the client's id of a run. Further messages of the run announce it under another one."""
        native = self.native_run(run_id)
        if native is not None:
            del self._runs[native]

    async def follow(self) -> None:
        """Send the messages of the view and their changes, until the view or the client's session ends."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._while_open, self._send_passing)
                await self._while_open(self._send_updates)
                tasks.cancel_scope.cancel()
        finally:
            self._off()
            self._sounds.close()
            self._passing.close()

    async def _while_open(self, send: Callable[[], Awaitable[None]]) -> None:
        try:
            await send()
        except HaipConnectionError as error:
            logger.debug("Session %s has ended: %s", self._haip.session_id, error, extra=self._known)

    async def _send_updates(self) -> None:
        async for messages in self._view.updates():
            await self._send_news(messages)

    async def _send_news(self, messages: list[CodecMessage[MsgT]]) -> None:
        there: set[tuple[str, int]] = set()
        for entry in messages:
            if entry.codec_message_id not in self._over:
                number = await self._send_message(entry)
                there.update((entry.codec_message_id, place) for place in range(number))
        await self._end_removed(there)
        for run in self._view.runs():
            if run.status in _ENDS and run.run_id not in self._ended:
                self._ended.add(run.run_id)
                await self._send_end(run)

    async def _end_removed(self, there: set[tuple[str, int]]) -> None:
        """End texts that were superseded, or are on a branch that the view no longer shows."""
        for key, sent in self._sent.items():
            if sent.envelope is not None and not sent.is_over and key not in there:
                await self._end_text(sent, sent.envelope)

    async def _send_message(self, entry: CodecMessage[MsgT]) -> int:
        """Send the news of a message; return the number of its pieces."""
        vocabulary, message = self._vocabulary, entry.message
        if vocabulary.is_from_person(message):
            self._over.add(entry.codec_message_id)
            said_by = vocabulary.message_id(message)
            if said_by is not None and self._own.is_own_message(said_by):
                self._messages[said_by] = entry.codec_message_id
                return 0
            channel, author, run_id, is_over, rests = HaipChannel.USER, "user", None, True, True
        else:
            run = self._view.run_of(entry.codec_message_id)
            run_id = None if run is None else await self._announce(run)
            is_over = run is None or run.status in _ENDS
            rests = is_over or (run is not None and run.status == "suspended")
            channel, author = HaipChannel.AGENT, "agent"
        envelope = HaipEnvelope(channel=channel, run_id=run_id, thread_id=self._thread_id)
        pieces = vocabulary.pieces(message)
        for place, piece in enumerate(pieces):
            is_last = place == len(pieces) - 1
            key = (entry.codec_message_id, place)
            await self._send_piece(key, piece, envelope, author, is_over=rests or not is_last)
        if is_over:
            self._over.add(entry.codec_message_id)
            for place in range(len(pieces)):
                self._sent.pop((entry.codec_message_id, place), None)
        return len(pieces)

    async def _announce(self, run: RunInfo) -> str:
        """Announce a run, once; return its id for the client."""
        known = self._runs.get(run.run_id)
        if known is not None:
            return known
        own = self._own.name_of(run.run_id)
        name = self._runs[run.run_id] = own or _uuid_of(run.run_id)
        if own is None:
            with self._leaving_out(HaipEventType.RUN_STARTED):
                await self._haip.announce_run(name, self._thread_id, {"client_id": run.client_id})
        return name

    async def _send_end(self, run: RunInfo) -> None:
        if run.run_id not in self._runs and self._own.is_given_up(run.run_id):
            return
        name = await self._announce(run)
        if run.status == "error":
            said = "the run failed" if run.error is None else run.error.message
            error = HaipError(said, HaipErrorCode.SERVER_ERROR)
            with self._leaving_out(HaipEventType.RUN_ERROR):
                await self._haip.fail_run(name, error, self._thread_id)
        else:
            await self._haip.end_run(name, _ENDS[run.status], self._thread_id)

    async def _send_piece(
        self, key: tuple[str, int], piece: Piece, envelope: HaipEnvelope, author: str, *, is_over: bool
    ) -> None:
        match piece:
            case TextPiece():
                await self._send_text(key, piece, envelope, author, is_over=is_over or piece.is_done)
            case ToolPiece():
                await self._send_tool(key, piece, envelope)
            case Sound():
                if key not in self._sent:
                    self._sent[key] = _Sent(_name_of(key))
                    await self._send_sound(self._sent[key].id, piece, envelope)

    async def _send_text(
        self, key: tuple[str, int], piece: TextPiece, envelope: HaipEnvelope, author: str, *, is_over: bool
    ) -> None:
        sent = self._sent.get(key)
        if sent is not None and not piece.text.startswith(sent.text):
            # A retried step superseded the text: the new text is another message.
            await self._end_text(sent, envelope)
            sent = None
        if sent is not None and sent.is_over and sent.text != piece.text:
            # A message that has ended cannot continue: the rest is another message.
            sent = await self._begin_text(key, sent.text, envelope, author)
        if sent is None:
            if not piece.text and not is_over:
                return
            sent = await self._begin_text(key, "", envelope, author)
        while len(sent.text) < len(piece.text):
            text = piece.text[len(sent.text) : len(sent.text) + PART_CHARACTERS]
            with self._leaving_out(HaipEventType.MESSAGE_PART):
                await self._send_part(sent.id, text, envelope)
            sent.text += text
        if is_over:
            await self._end_text(sent, envelope)

    async def _send_part(self, message_id: str, text: str, envelope: HaipEnvelope) -> None:
        """Send a part of a text, in smaller ones if the client's credits never suffice for it."""
        payload = {"message_id": message_id, "text": text}
        try:
            await self._haip.send_message(HaipMessage(HaipEventType.MESSAGE_PART, payload, envelope))
        except HaipFlowControlError:
            middle = len(text) // 2
            if middle == 0:
                raise
            await self._send_part(message_id, text[:middle], envelope)
            await self._send_part(message_id, text[middle:], envelope)

    async def _begin_text(
        self, key: tuple[str, int], known: str, envelope: HaipEnvelope, author: str
    ) -> _Sent:
        name = _name_of(key) if key not in self._sent else str(uuid.uuid4())
        sent = _Sent(name, known, envelope=envelope)
        self._sent[key] = sent
        self._messages[sent.id] = key[0]
        await self._send(HaipEventType.MESSAGE_START, {"message_id": sent.id, "author": author}, envelope)
        return sent

    async def _end_text(self, sent: _Sent, envelope: HaipEnvelope) -> None:
        if not sent.is_over:
            sent.is_over = True
            await self._send(HaipEventType.MESSAGE_END, {"message_id": sent.id}, envelope)

    async def _send_tool(self, key: tuple[str, int], piece: ToolPiece, envelope: HaipEnvelope) -> None:
        if not piece.is_complete and piece.status is None:
            return
        sent = self._sent.get(key)
        if sent is None:
            sent = self._sent[key] = _Sent(_call_name(key[0], piece.call_id))
            self._calls[sent.id] = (key[0], piece.call_id)
            call = {"call_id": sent.id, "tool": piece.tool, **_params(piece.params)}
            await self._send(HaipEventType.TOOL_CALL, call, envelope)
        if piece.status is not None and not sent.is_over:
            sent.is_over = True
            done = {"call_id": sent.id, "status": piece.status, "result": piece.result}
            await self._send(HaipEventType.TOOL_DONE, done, envelope)
        elif piece.status is None and piece.approval != sent.approval and piece.approval is not None:
            sent.approval = piece.approval
            status = "QUEUED" if piece.approval.approved is None else "RUNNING"
            update = {"call_id": sent.id, "status": status, "partial": mark_of(piece.approval)}
            await self._send(HaipEventType.TOOL_UPDATE, update, envelope)
        elif piece.status is None and piece.result is not None and piece.result != sent.partial:
            sent.partial = piece.result
            update = {"call_id": sent.id, "status": "RUNNING", "partial": piece.result}
            await self._send(HaipEventType.TOOL_UPDATE, update, envelope)

    async def _send_passing(self) -> None:
        async for sound in self._passing:
            envelope = HaipEnvelope(thread_id=self._thread_id)
            await self._send_sound(str(uuid.uuid4()), sound, envelope)

    async def _send_sound(self, message_id: str, sound: Sound, envelope: HaipEnvelope) -> None:
        with self._leaving_out(HaipEventType.AUDIO_CHUNK):
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
        with self._leaving_out(event):
            await self._haip.send_message(HaipMessage(event, payload, envelope))

    @contextmanager
    def _leaving_out(self, event: HaipEventType) -> Generator[None]:
        """Leave out a message that cannot be sent, so that the rest of the conversation arrives."""
        try:
            yield
        except HaipConnectionError:
            raise
        except HaipError as error:
            if error.code == HaipErrorCode.UNSUPPORTED_TYPE:
                logger.debug("%s is left out: %s", event, error, extra=self._known)
                return
            logger.warning("%s is left out: %s", event, error, extra=self._known)
            self._haip.fail(error)

    def _take_output(self, folded: OutputFolded[InT, OutT]) -> None:
        for output in folded.events:
            sound = self._vocabulary.passing(output)
            if sound is None:
                continue
            try:
                self._sounds.send_nowait(sound)
            except anyio.WouldBlock:
                logger.warning(
                    "Session %s is too slow for its audio; a chunk is dropped",
                    self._haip.session_id,
                    extra=self._known,
                )


def _name_of(key: tuple[str, int]) -> str:
    """Return the id of a piece for the client: the id of its message for the first piece."""
    codec_message_id, place = key
    return _uuid_of(codec_message_id if place == 0 else f"{codec_message_id}#{place}")


def _call_name(codec_message_id: str, call_id: str) -> str:
    """Return the id of a call for the client. Several messages may have calls with the same short id."""
    return call_id if UUID_FORM.fullmatch(call_id) else _uuid_of(f"{codec_message_id}#{call_id}")


def _params(params: object) -> dict[str, object]:
    """Return the parameters of a call as a field of its payload, which takes only an object."""
    if params is None:
        return {}
    return {"params": params if isinstance(params, dict) else {"input": params}}


def _uuid_of(name: str) -> str:
    return name if UUID_FORM.fullmatch(name) else str(uuid.uuid5(_NAMES, name))
