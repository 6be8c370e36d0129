"""The page on tests is right: a reader who types it in a fresh directory gets tests that pass."""

import re
from pathlib import Path

import pytest

from ably_ai_transport.local import Faults
from ably_ai_transport.testing import MemoryFaults
from tests.support.pages import ROOT, Page, not_installed, run_as_typed

PAGE = Page(ROOT / "docs" / "testing.md")


def test_every_test_of_the_page_passes_as_typed(tmp_path: Path) -> None:
    PAGE.write(tmp_path)
    [command] = [line for line in PAGE.commands() if not line.startswith("pip install")]
    result = run_as_typed(command, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout
    assert "warning" not in result.stdout


def test_what_the_page_installs_is_what_it_imports() -> None:
    assert not_installed(PAGE) == set()
    assert {"conftest.py"} & set(PAGE.files()) == set(), "the plugin needs no conftest.py"


@pytest.mark.parametrize(("switch", "faults"), [("memory_hub.faults", MemoryFaults), ("ably_faults", Faults)])
def test_the_faults_of_the_page_are_there(switch: str, faults: type) -> None:
    [table] = re.findall(
        rf"\| `{switch}\.` \| \|\n\|---\|---\|\n(.*?)\n\n", PAGE.path.read_text("utf-8"), re.DOTALL
    )
    named = set(re.findall(r"`(\w+)\(", table))
    assert named
    assert not [name for name in named if not callable(getattr(faults, name, None))]
