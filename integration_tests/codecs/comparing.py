"""Compares what the two packages write, and what they show of it."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from ably_ai_transport.wire import names
from integration_tests.codecs.writing import Case, Written, script, write
from integration_tests.differential.compare import differences, unexplained
from integration_tests.differential.ours import Player
from integration_tests.differential.script import Json, Script
from integration_tests.differential.theirs import Theirs


class Writers:
    """The npm package's encoders and sessions.

    Args:
        encoders: Writes.
        sessions: Shows.
    """

    def __init__(self, encoders: Theirs, sessions: Theirs) -> None:
        self._encoders = encoders
        self._sessions = sessions

    def compare_writing(self, cases: Sequence[Case]) -> list[tuple[Case, Written]]:
        """Write cases on both sides.

        Args:
            cases: Cases of one codec.

        Returns:
            The cases, with what ours has written.

        Raises:
            AssertionError: The two have written something else.
        """
        answer = self._encoders.ask("encode", codec=cases[0].codec, cases=[case.to_json() for case in cases])
        compared: list[tuple[Case, Written]] = []
        for case, other in zip(cases, cast("list[Json]", answer), strict=True):
            written = write(case)
            _check(_written_differently(written, other))
            compared.append((case, written))
        return compared

    def written_by_npm(self, case: Case) -> list[Json]:
        """Write a case with the npm package, and return its frames."""
        answer = self._encoders.ask("encode", codec=case.codec, cases=[case.to_json()])
        [written] = cast("list[Json]", answer)
        return cast("list[Json]", written["frames"])

    def shown(self, one: Script) -> tuple[Json, Json]:
        """Play a script, and return the last state of our session and of the npm package's."""
        [there] = self._sessions.play([one])
        return asyncio.run(_live(one))[-1], there[-1]

    def compare_reading(self, scripts: Sequence[Script]) -> None:
        """Play what was written to sessions of both sides.

        Args:
            scripts: The scripts.

        Raises:
            AssertionError: The two show something else.
        """
        for one, shown in zip(scripts, self._sessions.play(scripts), strict=True):
            _check(unexplained(one.steps, asyncio.run(_live(one)), shown))


def _check(differing: Iterable[str]) -> None:
    """Fail with what differs; this is no module of tests, whose assertions explain themselves."""
    lines = list(differing)
    if lines:
        raise AssertionError("\n".join(line[:1000] for line in lines[:10]))


def joins(case: Case, written: Written, places: Sequence[int], chunk: int = 1000) -> Iterator[Script]:
    """Have clients come after some of the writes."""
    for place in places:
        yield script(case, written, min(place, len(written.channel.frames)), chunk)


def _written_differently(written: Written, other: Json) -> Iterator[str]:
    codes = [None if error is None else error["code"] or error["message"] for error in other["errors"]]
    yield from differences(written.errors, codes, "errors")
    # The SDKs publish null as no data at all.
    theirs = [{key: value for key, value in frame.items() if value is not None} for frame in other["frames"]]
    yield from differences(_in_order(written.frames), _in_order(theirs), "frames")


def _in_order(frames: Sequence[Json]) -> list[Json]:
    """Put streams that are cancelled together in one order: ours waits for the answers to each of them."""

    def is_cancelled(frame: Json) -> bool:
        return frame["extras"]["ai"]["transport"].get(names.STATUS) == "cancelled"

    cancelled = sorted(filter(is_cancelled, frames), key=lambda frame: str(frame["serial"]))
    return [*(frame for frame in frames if not is_cancelled(frame)), *cancelled]


async def _live(one: Script) -> list[Json]:
    async with Player.of(one) as player:
        return [await player.take(step) for step in one.steps]
