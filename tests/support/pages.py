"""Follows a page of the documentation to the letter, in a directory of the reader's own.

A ``python`` or ``toml`` block that begins with a comment such as ``# test_chat.py`` is a file.
A ``sh`` block is typed, except for ``pip install``: what it would bring is compared with the
imports of the files.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE: Final = re.compile(r"# ([\w.]+\.(?:py|toml|ini))\n")
_INSTALL: Final = "pip install "


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the documentation.

    Attributes:
        path: Where it is.
    """

    path: Path

    def blocks(self, language: str) -> list[str]:
        """Return the fenced blocks in a language, in order."""
        text = self.path.read_text(encoding="utf-8")
        return [block for tag, block in _BLOCK.findall(text) if tag == language]

    def files(self) -> dict[str, str]:
        """Return the files that the reader is told to write, by name."""
        blocks = [*self.blocks("python"), *self.blocks("toml")]
        return {named[1]: block for block in blocks if (named := _FILE.match(block))}

    def commands(self) -> list[str]:
        """Return what the reader is told to type, without comments."""
        lines = [line.split(" #")[0].strip() for block in self.blocks("sh") for line in block.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]

    def installed(self) -> list[Requirement]:
        """Return what the reader is told to install."""
        found = [line.removeprefix(_INSTALL) for line in self.commands() if line.startswith(_INSTALL)]
        return [Requirement(text.strip('"')) for text in found]

    def write(self, directory: Path) -> None:
        """Write the files of the page into a directory."""
        for name, content in self.files().items():
            (directory / name).write_text(content, encoding="utf-8")


def run_as_typed(command: str, directory: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory, with this environment's programs first on the path."""
    programs = str(Path(sys.executable).parent)
    # Nothing of this checkout's own test run may help the reader along.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(  # noqa: S602 - a command of our own pages
        command,
        shell=True,
        cwd=directory,
        env={**kept, "PATH": f"{programs}{os.pathsep}{kept.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


def not_installed(page: Page) -> set[str]:
    """Return the modules that the files of a page import and that its ``pip install`` lines do not bring."""
    brought = {name.replace("-", "_") for name in _closure(page.installed())}
    local = {name.removesuffix(".py") for name in page.files()}
    used = {module for source in page.files().values() for module in _imports(source)}
    return used - brought - local - sys.stdlib_module_names


def _imports(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # not Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def _closure(requirements: list[Requirement]) -> set[str]:
    """Return the distributions that some requirements bring, directly or not."""
    waiting = [
        (requirement.name, extra) for requirement in requirements for extra in {"", *requirement.extras}
    ]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        key = (canonicalize_name(name), extra)
        if key in seen:
            continue
        seen.add(key)
        known = metadata.distribution(name)
        extras = {canonicalize_name(one) for one in known.metadata.get_all("Provides-Extra") or ()}
        assert not extra or canonicalize_name(extra) in extras, f"{name} has no extra {extra!r}"
        for text in known.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(needed.name, inner) for inner in {"", *needed.extras}]
    return {name for name, _ in seen}
