"""Our adapters and the AI SDK translate every kind of item and block that its providers know alike."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
from ably_ai_transport_vercel.adapters import to_ui_chunks

from ably_ai_transport import AITransportError
from integration_tests.codecs.comparing import Writers
from integration_tests.codecs.model_streams import MODEL_STREAMS, ModelStream
from integration_tests.codecs.writing import Case
from integration_tests.differential.script import Json
from integration_tests.differential.theirs import Theirs


@pytest.fixture(scope="module")
def theirs(javascript: str) -> dict[str, list[Json]]:
    """What the AI SDK makes of the streams, by their names."""
    with Theirs("model.mjs") as driver:
        answer = driver.ask("stream", streams=[one.to_json() for one in MODEL_STREAMS])
    translated = cast("list[list[Json]]", answer)
    return {name_of(one): chunks for one, chunks in zip(MODEL_STREAMS, translated, strict=True)}


def name_of(one: ModelStream) -> str:
    return f"{one.provider}: {one.name}"


async def _adapted(one: ModelStream) -> list[Json]:
    async def events() -> AsyncIterator[Json]:
        for event in one.events:
            yield event

    chunks: list[Json] = []
    try:
        async for chunk in to_ui_chunks(events(), provider=one.provider):
            chunks.append(dict(chunk))  # noqa: PERF401 - the chunks before a failure count
    except AITransportError:
        chunks.append({"type": "error"})
    return chunks


class Shown:
    """What a reply shows, whatever its parts are called.

    Args:
        chunks: The reply.
    """

    def __init__(self, chunks: Sequence[Json]) -> None:
        self._chunks = chunks
        # The AI SDK makes up the ids of calls that wait for an approval.
        self._approvals = {
            chunk["toolCallId"]: f"to be approved: {chunk['approvalId']}"
            for chunk in chunks
            if chunk["type"] == "tool-approval-request"
        }

    def _call(self, chunk: Json) -> str:
        call_id = str(chunk["toolCallId"])
        return self._approvals.get(call_id, call_id)

    @property
    def failed(self) -> bool:
        return any(chunk["type"] == "error" for chunk in self._chunks)

    def texts(self, kind: str) -> list[str]:
        """The texts of the parts of a kind; parts that say nothing are left out."""
        parts: dict[str, str] = {}
        for chunk in self._chunks:
            if chunk["type"] == f"{kind}-delta":
                parts[chunk["id"]] = parts.get(chunk["id"], "") + chunk["delta"]
        return [text for text in parts.values() if text]

    def calls(self) -> list[object]:
        keys = ("type", "toolName", "input", "providerExecuted", "dynamic")
        return [
            (self._call(chunk), *(chunk.get(key) or None for key in keys))
            for chunk in self._chunks
            if chunk["type"] == "tool-input-available"
        ]

    def broken_calls(self) -> list[object]:
        return [
            (self._call(chunk), chunk["toolName"], chunk["input"])
            for chunk in self._chunks
            if chunk["type"] == "tool-input-error"
        ]

    def pieces(self) -> dict[str, object]:
        """The input of each call that was streamed, read from its pieces as followers read it."""
        texts: dict[str, str] = {}
        for chunk in self._chunks:
            if chunk["type"] == "tool-input-delta":
                texts[self._call(chunk)] = texts.get(self._call(chunk), "") + chunk["inputTextDelta"]
        return {call: _parsed(text) for call, text in texts.items()}

    def outputs(self) -> list[object]:
        broken = {chunk["toolCallId"] for chunk in self._chunks if chunk["type"] == "tool-input-error"}
        return [
            (self._call(chunk), chunk.get("output"), chunk.get("errorText"), chunk.get("providerExecuted"))
            for chunk in self._chunks
            if chunk["type"].startswith("tool-output") and chunk["toolCallId"] not in broken
        ]

    def sources(self) -> list[object]:
        keys = ("type", "url", "title", "mediaType", "filename")
        return [
            tuple(chunk.get(key) for key in keys)
            for chunk in self._chunks
            if chunk["type"].startswith("source-")
        ]

    def approvals(self) -> list[str]:
        return sorted(self._approvals.values())


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.mark.parametrize("one", MODEL_STREAMS, ids=name_of)
def test_a_stream(theirs: dict[str, list[Json]], one: ModelStream) -> None:
    chunks = asyncio.run(_adapted(one))
    ours, other = Shown(chunks), Shown(theirs[name_of(one)])
    assert ours.failed == other.failed
    for kind in ("text", "reasoning"):
        assert ours.texts(kind) == other.texts(kind)
    assert ours.calls() == other.calls()
    assert ours.broken_calls() == other.broken_calls()
    # Ours has pieces even of an input that the model has not streamed: readers know no other input.
    assert {call: ours.pieces().get(call) for call in other.pieces()} == other.pieces()
    assert ours.outputs() == other.outputs()
    assert ours.sources() == other.sources()
    assert ours.approvals() == other.approvals()
    if not ours.failed:
        assert chunks[-2:] == theirs[name_of(one)][-2:]


def test_chunks_that_the_codec_cannot_carry_are_left_out(theirs: dict[str, list[Json]]) -> None:
    kinds = {chunk["kind"] for chunks in theirs.values() for chunk in chunks if chunk["type"] == "custom"}
    assert kinds == {"openai.compaction", "anthropic.message_start", "anthropic.fallback"}
    assert not [chunk for one in MODEL_STREAMS for chunk in asyncio.run(_adapted(one)) if "kind" in chunk]


def test_the_npm_package_writes_the_same(writers: Writers) -> None:
    replies = [asyncio.run(_adapted(one)) for one in MODEL_STREAMS]
    writers.compare_writing([Case("vercel", chunks) for chunks in replies if not Shown(chunks).failed])
