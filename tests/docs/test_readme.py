"""The README is right: its files run as typed, its links lead somewhere, and it names every extra."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.cli.command import run_command
from tests.support.pages import ROOT, Page, not_installed, run_as_typed

README = Page(ROOT / "README.md")
REPOSITORY = "https://github.com/ably/ably-ai-transport-python/blob/main/"
DISTRIBUTIONS = [ROOT, *sorted(path.parent for path in ROOT.glob("codecs/*/pyproject.toml"))]


def project(distribution: Path) -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_agent_and_the_client_talk_as_typed(tmp_path: Path) -> None:
    README.write(tmp_path)
    [command] = [line for line in README.commands() if line.startswith("python ")]
    result = run_as_typed(command, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    shown = result.stdout.splitlines()
    assert shown[0] == "['How do I get to Lisbon?']"
    assert shown[-1] == "['How do I get to Lisbon?', 'Take the night train.']"


def test_what_it_installs_is_what_it_imports() -> None:
    assert not_installed(README) == set()


def test_its_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in README.commands():
        program, *arguments = line.split()
        if program == "make":
            assert f"\n{arguments[0]}:" in makefile
        elif program == "ably-ai-transport":
            told = run_command(arguments[0], "--help").stdout
            assert all(option in told for option in arguments[1:])
        else:
            assert line.startswith(("pip install ", "python "))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_links_work_on_a_package_index(distribution: Path) -> None:
    text = (distribution / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link.startswith("https://"), f"{link} is relative"
        if link.startswith(REPOSITORY):
            assert (ROOT / link.removeprefix(REPOSITORY)).exists(), f"{link} leads nowhere"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_extra_is_named(distribution: Path) -> None:
    text = (distribution / "README.md").read_text(encoding="utf-8")
    for extra in project(distribution).get("optional-dependencies", {}):
        assert f"`{extra}`" in text or f"[{extra}]" in text


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_distribution_says_how_it_is_installed_and_where_it_comes_from(distribution: Path) -> None:
    named = project(distribution)
    page = Page(distribution / "README.md")
    assert any(requirement.name == named["name"] for requirement in page.installed())
    assert page.blocks("python")
    assert {"Homepage", "Documentation", "Repository", "Issues"} <= set(named["urls"])
    assert "Framework :: AnyIO" not in named["classifiers"]
    assert (distribution / "LICENSE").is_file()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[1:], ids=lambda path: path.name)
def test_the_code_in_the_readme_of_a_codec_imports_what_exists(distribution: Path) -> None:
    for block in Page(distribution / "README.md").blocks("python"):
        exec(compile(block, str(distribution), "exec"), {})  # noqa: S102 - the page is ours
