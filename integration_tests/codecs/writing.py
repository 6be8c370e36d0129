"""The messages that our codec writes, and scripts for readers who join at any point."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ably_ai_transport import AITransportError, InboundMessage, OutboundMessage
from ably_ai_transport.codec import EncoderOptions, TableCodec, WriteOptions
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import ai_extras
from integration_tests.differential.script import Json, Script, message_to_json
from integration_tests.vocabularies import CODECS
from tests.codec.fake_channel import FakeChannel

RUN: Final = "run-1"
STEP: Final = "step-1"
MESSAGE: Final = "message-1"
HEADERS: Final[Mapping[str, str]] = {
    names.ROLE: "assistant",
    names.RUN_ID: RUN,
    names.RUN_CLIENT_ID: "alice",
    names.INVOCATION_ID: "invocation-1",
    names.INPUT_CODEC_MESSAGE_ID: "input-1",
    names.PARENT: "input-1",
    names.STEP_ID: STEP,
    names.STEP_CLIENT_ID: "alice",
    names.STEP_START_SERIAL: "000000-1",
}

_OF_RUN: Final = (names.RUN_ID, names.RUN_CLIENT_ID, names.INVOCATION_ID, names.INPUT_CODEC_MESSAGE_ID)


@dataclass(frozen=True)
class Case:
    """Events to write.

    Attributes:
        codec: ``vercel`` or ``openai``.
        outputs: The outputs of an agent.
        inputs: The inputs of clients, as JSON with a ``kind``.
        headers: Transport headers of every message.
        message_id: The fallback id for messages.
        closes: Whether streams that are open in the end are cancelled.
    """

    codec: str
    outputs: Sequence[Any] = ()
    inputs: Sequence[Json] = ()
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    message_id: str | None = MESSAGE
    closes: bool = True

    def to_json(self) -> Json:
        """Return the case as the other language reads it."""
        return {
            "outputs": list(self.outputs),
            "inputs": list(self.inputs),
            "headers": dict(self.headers),
            "messageId": self.message_id,
            "codecMessageId": MESSAGE if self.outputs else None,
            "closes": self.closes,
        }


@dataclass(frozen=True)
class Written:
    """The result of writing a case.

    Attributes:
        frames: The writes, as the other language tells them.
        errors: For each event the error code, or None.
        channel: The channel.
    """

    frames: list[Json]
    errors: list[int | None]
    channel: FakeChannel


def write(case: Case) -> Written:
    """Write events with our codec."""
    return asyncio.run(_write(case, CODECS[case.codec]))


async def _write(case: Case, codec: TableCodec[Any, Any, Any, Any, Any, Any, Any]) -> Written:
    channel = FakeChannel()
    encoder = codec.create_encoder(
        channel, EncoderOptions(headers=dict(case.headers), message_id=case.message_id, merge_appends=False)
    )
    options = WriteOptions(message_id=MESSAGE) if case.outputs else None
    errors: list[int | None] = []
    for event in case.outputs:
        try:
            await encoder.publish_output(event, options)
        except AITransportError as error:
            errors.append(error.code)
        else:
            errors.append(None)
    for event in case.inputs:
        try:
            await encoder.publish_input(input_of(codec, event), options)
        except AITransportError as error:
            errors.append(error.code)
        else:
            errors.append(None)
    if case.closes:
        await encoder.cancel_streams()
    await encoder.close()
    # The other side's serials are the places of the writes.
    places: dict[str | None, str] = {}
    for place, frame in enumerate(channel.frames, 1):
        places.setdefault(frame.change.serial, f"{place:06}")
    frames = [_frame(op, message, places.get(message.serial)) for op, message in channel.sent]
    return Written(frames, errors, channel)


def input_of(codec: TableCodec[Any, Any, Any, Any, Any, Any, Any], event: Json) -> object:
    """Build an input of ours from the JSON of the npm package's."""
    match event["kind"]:
        case "user-message":
            return codec.create_user_message(event["message"])
        case "regenerate":
            return codec.create_regenerate(event["target"], event["parent"])
        case "tool-result":
            return codec.create_tool_result(event["codecMessageId"], event["payload"])
        case "tool-result-error":
            return codec.create_tool_result_error(event["codecMessageId"], event["payload"])
        case _:
            return codec.create_tool_approval_response(event["codecMessageId"], event["payload"])


def _frame(op: str, message: OutboundMessage, serial: str | None) -> Json:
    extras: Json = dict(message.extras)
    shown = {"op": op, "name": message.name, "data": message.data, "extras": extras, "serial": serial}
    return {key: value for key, value in shown.items() if value is not None}


def script(case: Case, written: Written, join: int | None = None, chunk: int = 1) -> Script:
    """Compose a script in which a client reads the messages of a case.

    Args:
        case: The case.
        written: The result of writing it.
        join: Number of writes before the client joins and reads history; None for a client from the start.
        chunk: Number of deliveries between two looks.

    Returns:
        The script, with the run around the messages.
    """
    start = 0 if join is None else join
    run = {key: value for key, value in case.headers.items() if key in _OF_RUN}
    step = {key: case.headers[key] for key in (names.STEP_ID, names.STEP_CLIENT_ID) if key in case.headers}
    opening: list[InboundMessage] = []
    if run.get(names.RUN_ID):
        opening.append(_lifecycle(names.RUN_START, "000000-0", run))
        opening.append(_lifecycle(names.STEP_START, "000000-1", {**run, **step}))
    past = [*opening, *written.channel.history_at(start)]
    live = written.channel.seen_from(start)
    if join is None:
        live, past = [*past, *live], []
    steps: list[Json] = []
    if past:
        steps.append({"op": "loadOlder", "view": 0, "limit": 1000})
    messages = [message_to_json(message) for message in live]
    steps += [
        {"op": "deliverAll", "messages": messages[first : first + chunk]}
        for first in range(0, len(messages), chunk)
    ]
    return Script(past[::-1], 1000, steps, case.codec)


def _lifecycle(name: str, serial: str, headers: Mapping[str, str]) -> InboundMessage:
    return InboundMessage(
        name=name, data="", serial=serial, version=serial, client_id="alice", extras=ai_extras(headers, None)
    )
