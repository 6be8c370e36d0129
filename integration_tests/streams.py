"""Scripts for agents: what a model streams, as the chunks of the AI SDK's UI message stream."""

import functools
import itertools
import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from integration_tests import node
from integration_tests.js_process import Json

SHARED: Final = Path(os.environ.get("AIT_SHARED") or node.HERE.parent.parent / "shared")
"""The directory with recordings of real models, on machines that have them."""

MADE_UP: Final = "made-up"
RECORDINGS: Final = (
    "anthropic-messages/anthropic-compaction.1",
    "anthropic-messages/anthropic-programmatic-tool-calling.1",
    "anthropic-messages/anthropic-web-search-tool.1",
    "openai-responses/openai-code-interpreter-tool.1",
    "openai-responses/openai-mcp-tool.1",
    "openai-responses/openai-reasoning-encrypted-content.1",
    "openai-responses/openai-web-search-tool.1",
)
"""Recorded streams that together have about everything that models stream."""

PHRASES: Final = (
    "The quick brown fox ",
    "jumps — naïvely, façade and all — ",
    "über den 懒狗。",
    "日本語のテキスト、",
    "한국어 문장. ",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumb; ",
    "e\u0301 is not \u00e9, ",
    "שלום עולם ",
    "tabs\tand\r\nnew lines\n",
    '"quotes", \\backslashes\\ and \u2028 separators. ',
)


def text_stream(
    deltas: Iterable[str | Json], *, text_id: str = "t1", message_id: str | None = None
) -> list[Json]:
    """Return a whole answer of one text.

    Args:
        deltas: The text, piece by piece; a dictionary is put into the script as it is (a gate, say).
        text_id: Id of the text part.
        message_id: Id of the message; the session's choice where it is None.
    """
    start: Json = {"type": "start"} if message_id is None else {"type": "start", "messageId": message_id}
    pieces = [
        {"type": "text-delta", "id": text_id, "delta": piece} if isinstance(piece, str) else piece
        for piece in deltas
    ]
    return [
        start,
        {"type": "start-step"},
        {"type": "text-start", "id": text_id},
        *pieces,
        {"type": "text-end", "id": text_id},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]


def reply(text: str) -> list[Json]:
    """Return a whole answer that streams a text word by word."""
    words = text.split(" ")
    return text_stream([*(f"{word} " for word in words[:-1]), words[-1]])


def long_deltas(count: int = 240) -> list[str]:
    """Return pieces of a long text in many scripts, cut without regard to words or characters."""
    text = "".join(itertools.islice(itertools.cycle(PHRASES), count))
    size = max(1, len(text) // count)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [*pieces[: count - 1], "".join(pieces[count - 1 :])]


def text_of(script: Sequence[Json]) -> str:
    """Return all text that a script streams."""
    return "".join(item["delta"] for item in script if item.get("type") == "text-delta")


def all_streams() -> list[str]:
    """Return the names of the streams to play: one that is made up, and the recorded ones that are here."""
    return [MADE_UP, *(name for name in RECORDINGS if _recording(name).exists())]


def _recording(name: str) -> Path:
    return SHARED / "recordings" / f"{name}.jsonl"


def recordings(kind: str = "*") -> list[str]:
    """Return the names of all recordings that are here, of one kind or of all."""
    folder = SHARED / "recordings"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob(f"{kind}/*.jsonl"))


def recorded_events(name: str) -> list[Json]:
    """Return what a model's API has streamed."""
    lines = _recording(name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


@functools.cache
def _recorded_chunks() -> dict[str, list[str]]:
    """Turn all recordings into chunks, in one process."""
    paths = {str(_recording(name)): name for name in recordings()}
    done = subprocess.run(
        [node.find_node(), str(node.SCRIPTS / "recording.mjs"), *paths],
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    )
    chunks: dict[str, list[str]] = {name: [] for name in paths.values()}
    for line in done.stdout.split("\n")[:-1]:
        said = json.loads(line)
        chunks[paths[said["file"]]].append(json.dumps(said["chunk"]))
    return chunks


def stream(name: str) -> list[Json]:
    """Return a whole answer, such as the AI SDK streams.

    Chunks of type ``custom`` are left out: the JS package 0.8.0 refuses to publish them.
    """
    if name == MADE_UP:
        return text_stream(long_deltas())
    chunks = [json.loads(line) for line in _recorded_chunks()[name]]
    return [chunk for chunk in chunks if chunk["type"] != "custom"]


def long_stream() -> list[Json]:
    """Return an answer of at least 200 deltas: a recorded one where there is one."""
    name = "openai-responses/openai-mcp-tool.1"
    return stream(name if name in all_streams() else MADE_UP)


def answer_program(script: Iterable[Json], **end: object) -> list[Json]:
    """Return the program of a plain answer: read the conversation, stream, end as the stream went."""
    return [
        {"do": "load"},
        {"do": "start"},
        {"do": "pipe", "script": list(script)},
        {"do": "end", **end},
    ]
