"""What engines are known to do otherwise: the tests that fail on them, each with its reason.

A test that is listed and passes fails the run: the line is out of date.
"""

import fnmatch
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_DIRECTORY: Final = Path(__file__).parent / "manifests"


@dataclass(frozen=True)
class Entry:
    """A difference.

    Attributes:
        tests: Patterns of test ids, as of `fnmatch`, without the folder of all tests.
        reason: What the engine does, and what Ably does.
    """

    tests: tuple[str, ...]
    reason: str

    def names(self, item: pytest.Item) -> bool:
        """Tell whether a test is among these."""
        # In a pattern of fnmatch, the bracket of a parametrized test would begin a set.
        node_id = item.nodeid.replace("[", "(").replace("]", ")")
        return any(fnmatch.fnmatchcase(node_id, f"*{pattern}") for pattern in self.tests)


def load(engine: str) -> list[Entry]:
    """Return the entries of an engine; none for one that has no manifest."""
    path = _DIRECTORY / f"{engine}.toml"
    if not path.exists():
        return []
    content = tomllib.loads(path.read_text())
    return [Entry(tuple(entry["tests"]), entry["reason"]) for entry in content["difference"]]


def apply(engine: str, items: Sequence[pytest.Item]) -> None:
    """Mark the tests that are known to fail on an engine."""
    for entry in load(engine):
        for item in items:
            if entry.names(item):
                item.add_marker(pytest.mark.xfail(reason=entry.reason, strict=True))
