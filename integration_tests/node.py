"""Node and the packages that the JavaScript side of these tests needs."""

import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SCRIPTS: Final = HERE / "js"
OLDEST_NODE: Final = 20


class NodeProblemError(Exception):
    """Node or npm is missing, too old, or could not install the packages."""


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NodeProblemError(f"these tests need node {OLDEST_NODE} or newer; no '{name}' on the PATH")
    return path


def find_node() -> str:
    """Return the path of a node that is new enough.

    Raises:
        NodeProblemError: There is none.
    """
    node = _program("node")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST_NODE:
        raise NodeProblemError(f"these tests need node {OLDEST_NODE} or newer; '{node}' is {said}")
    return node


def install_packages(announce: Callable[[str], None]) -> None:
    """Install what ``package-lock.json`` lists, unless that has been done.

    Safe to call from several processes at once.

    Raises:
        NodeProblemError: npm is missing or failed.
    """
    lock = HERE / "package-lock.json"
    stamp = HERE / "node_modules" / ".installed"
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        digest = hashlib.sha256(file.read()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        announce("Installing the JavaScript packages of the integration tests (npm ci) …")
        command = [_program("npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NodeProblemError(f"npm ci failed:\n{done.stdout}{done.stderr}")
        stamp.write_text(digest)
