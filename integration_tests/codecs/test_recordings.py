"""Recorded streams are the same on the wire in both languages, and to readers who join at any time."""

import os
from collections.abc import Sequence
from typing import Final

import pytest

from integration_tests import streams
from integration_tests.codecs.comparing import Writers, joins
from integration_tests.codecs.writing import Case, Written, script

EVERY_JOIN: Final = "AIT_CASES" in os.environ
"""Whether a reader joins after every write; otherwise readers join after some writes."""
SOME_JOINS: Final = 6


def places(count: int) -> Sequence[int]:
    return range(count + 1) if EVERY_JOIN else range(1, count + 1, max(1, count // SOME_JOINS))


def check(writers: Writers, case: Case) -> Written:
    [(_, written)] = writers.compare_writing([case])
    writers.compare_reading([script(case, written, chunk=50)])
    for one in joins(case, written, places(len(written.channel.frames))):
        writers.compare_reading([one])
    return written


@pytest.mark.parametrize("name", streams.recordings())
def test_as_ui_messages(writers: Writers, name: str) -> None:
    written = check(writers, Case("vercel", streams.stream(name)))
    assert set(written.errors) == {None}


@pytest.mark.parametrize("name", streams.recordings("openai-responses"))
def test_as_responses(writers: Writers, name: str) -> None:
    written = check(writers, Case("openai", streams.recorded_events(name)))
    refused = {code for code in written.errors if code is not None}
    assert refused <= {40003}
