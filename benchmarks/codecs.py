"""The cost of a delta to write, read and fold, against the npm package's codecs."""

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ably_ai_transport import InboundMessage
from ably_ai_transport.codec import EncoderOptions, FoldMeta, OutputEvent, WriteOptions
from ably_ai_transport.wire import OutboundMessage
from benchmarks.measure import median_of, run_node, say, table
from integration_tests.codecs.writing import HEADERS
from integration_tests.differential.script import Json, message_to_json
from integration_tests.vocabularies import CODECS
from tests.codec.fake_channel import FakeChannel

DELTAS = 10_000
ROUNDS = 7


def replies() -> dict[str, list[Json]]:
    """Compose a long reply in each codec."""
    words = [f"word{i % 97} " for i in range(DELTAS)]
    where: Json = {"item_id": "m1", "output_index": 0, "content_index": 0}
    item: Json = {"type": "message", "id": "m1", "role": "assistant", "status": "in_progress", "content": []}
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    return {
        "vercel": [
            {"type": "start"},
            {"type": "start-step"},
            {"type": "text-start", "id": "t"},
            *({"type": "text-delta", "id": "t", "delta": word} for word in words),
            {"type": "text-end", "id": "t"},
            {"type": "finish"},
        ],
        "openai": [
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **where, "part": part},
            *({"type": "response.output_text.delta", **where, "delta": word} for word in words),
            {"type": "response.output_text.done", **where, "text": "".join(words)},
        ],
    }


class Sink:
    """Acks at once and keeps nothing, as the channel of ``bench-codec.mjs`` does.

    The tests' channels keep what they take: that costs more than the encoder, and only on this side.
    """

    def __init__(self) -> None:
        self._count = 0

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        return self._answer([self._next() for _ in messages])

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        return self._answer(self._next())

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        return self._answer(self._next())

    def _next(self) -> str | None:
        self._count += 1
        return f"{self._count:09}"

    def _answer(self, value: Any) -> asyncio.Future[Any]:  # noqa: ANN401
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return future


async def encode(name: str, outputs: Sequence[Json], channel: Any, *, merged: bool) -> None:  # noqa: ANN401
    options = EncoderOptions(headers=dict(HEADERS), merge_appends=merged)
    encoder = CODECS[name].create_encoder(channel, options)
    write = WriteOptions(message_id="m")
    for event in outputs:
        await encoder.publish_output(event, write)
    await encoder.close()


def decode(name: str, messages: Sequence[InboundMessage]) -> list[Any]:
    decoder = CODECS[name].create_decoder()
    return [event for message in messages for event in decoder.decode(message).outputs]


def fold(name: str, events: Sequence[Any]) -> Sequence[Any]:
    codec = CODECS[name]
    projection, meta = codec.init(), FoldMeta("s", "m")
    for event in events:
        projection = codec.fold(projection, OutputEvent(event), meta)
    return codec.get_messages(projection)


def ours(
    name: str, outputs: Sequence[Json], messages: Sequence[InboundMessage], *, merged: bool
) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {"encode": [], "decode": [], "fold": []}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        asyncio.run(encode(name, outputs, Sink(), merged=merged))
        encoded = time.perf_counter()
        events = decode(name, messages)
        decoded = time.perf_counter()
        fold(name, events)
        folded = time.perf_counter()
        for step, seconds in (
            ("encode", encoded - began),
            ("decode", decoded - encoded),
            ("fold", folded - decoded),
        ):
            took[step].append(seconds * 1e6 / len(outputs))
    return took


def theirs(name: str, outputs: Sequence[Json], messages: Sequence[InboundMessage]) -> dict[str, Any]:
    told = {
        "codec": name,
        "outputs": outputs,
        "headers": dict(HEADERS),
        "messages": [message_to_json(message) for message in messages],
        "rounds": ROUNDS,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reply.json"
        file.write_text(json.dumps(told), "utf-8")
        return run_node("bench-codec.mjs", {"file": str(file)})


def written_by(name: str, outputs: Sequence[Json], *, merged: bool) -> list[InboundMessage]:
    """Return the messages of a reply on a channel."""
    channel = FakeChannel()
    asyncio.run(encode(name, outputs, channel, merged=merged))
    sent = (message for _, message in channel.sent)
    # The extras as the encoder shares them between messages; the channel makes copies.
    return [
        replace(frame.change, extras=message.extras)
        for frame, message in zip(channel.frames, sent, strict=True)
    ]


def main() -> None:
    """Run the benchmark and print it."""
    rows = [["", "encode", "decode", "fold", "sum", "ratio"]]
    for name, outputs in replies().items():
        say(f"the codec {name}")
        written = {merged: written_by(name, outputs, merged=merged) for merged in (True, False)}
        costs = {
            "npm": theirs(name, outputs, written[False]),
            "here, one append a delta": ours(name, outputs, written[False], merged=False),
            "here, merged as by default": ours(name, outputs, written[True], merged=True),
        }
        sums: dict[str, float] = {}
        for side, took in costs.items():
            steps = [median_of(took[step]) for step in ("encode", "decode", "fold")]
            sums[side] = sum(steps)
            ratio = f"{sums[side] / sums['npm']:.2f}"
            rows.append([f"{name}, {side}", *(f"{step:.1f}" for step in steps), f"{sums[side]:.1f}", ratio])
    table(f"Microseconds a delta, of {DELTAS:,}: median of {ROUNDS} rounds", rows)


if __name__ == "__main__":
    main()
