"""Our adapters and the AI SDK turn a model's stream into the same visible reply."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from ably_ai_transport_vercel import UIMessageChunk
from ably_ai_transport_vercel.adapters import to_ui_chunks

from integration_tests import streams
from integration_tests.codecs.comparing import Writers
from integration_tests.codecs.writing import Case
from integration_tests.differential.script import Json

NOT_THERE = "AI_NoSuchToolError"


async def _events(name: str) -> AsyncIterator[Json]:
    for event in streams.recorded_events(name):
        yield event


async def _adapted(name: str) -> list[UIMessageChunk]:
    return [chunk async for chunk in to_ui_chunks(_events(name))]


def adapted(name: str) -> list[Json]:
    return [dict(chunk) for chunk in asyncio.run(_adapted(name))]


def said(chunks: Sequence[Json], kind: str) -> list[str]:
    """Return the texts of a reply; parts that say nothing are left out, and neighbours are one."""
    pieces = [
        chunk["delta"] if chunk["type"] == f"{kind}-delta" else None
        for chunk in chunks
        if chunk["type"].startswith(("text-d", "reasoning-d", "tool-", "source"))
    ]
    runs = (
        "".join(p for p in run if p) for has, run in itertools.groupby(pieces, lambda p: p is not None) if has
    )
    return [text for text in runs if text]


def calls(chunks: Sequence[Json]) -> dict[str, tuple[str, bool]]:
    """Return the calls with their tools; without tools of its own, the AI SDK takes each for an error."""
    approvals: dict[str, str] = {
        c["toolCallId"]: "to be approved" for c in chunks if c["type"] == "tool-approval-request"
    }
    return {
        # The AI SDK makes up ids for calls that wait for an approval.
        approvals.get(str(chunk["toolCallId"]), str(chunk["toolCallId"])): (
            chunk["toolName"].split(".")[-1],
            chunk.get("providerExecuted") is True,
        )
        for chunk in chunks
        if chunk["type"] in ("tool-input-available", "tool-input-error")
    }


def inputs(chunks: Sequence[Json]) -> dict[str, object]:
    """Return the inputs of calls of the application's functions."""
    return {
        chunk["toolCallId"]: chunk["input"]
        for chunk in chunks
        if chunk["type"] in ("tool-input-available", "tool-input-error")
        and not chunk.get("providerExecuted")
        and chunk["toolName"] != "shell"
    }


def answered(chunks: Sequence[Json]) -> set[str]:
    """Return the calls that the provider has answered itself."""
    return {chunk["toolCallId"] for chunk in chunks if chunk["type"].startswith("tool-output-")}


def urls(chunks: Sequence[Json]) -> list[str]:
    return [chunk["url"] for chunk in chunks if chunk["type"] == "source-url"]


@pytest.mark.parametrize("name", streams.recordings())
def test_a_recording(writers: Writers, name: str) -> None:
    ours, theirs = adapted(name), streams.stream(name)
    assert [c["type"] for c in ours[:2]] == [c["type"] for c in theirs[:2]]
    for kind in ("text", "reasoning"):
        assert "".join(said(ours, kind)) == "".join(said(theirs, kind))
    assert calls(ours) == calls(theirs)
    assert inputs(ours) == inputs(theirs)
    assert answered(ours) == answered(theirs)
    assert set(urls(ours)) >= set(urls(theirs))
    assert ours[-2:] == theirs[-2:]
    writers.compare_writing([Case("vercel", ours)])
