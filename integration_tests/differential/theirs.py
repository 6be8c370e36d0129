"""Plays scripts to client sessions of the npm package."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self, cast

from integration_tests import node
from integration_tests.differential.script import Json, Script


class TheirsError(Exception):
    """The npm package could not be driven."""


class Theirs:
    """A node process that plays scripts, for as long as the ``with`` lasts.

    Args:
        driver: The program that plays them.
    """

    def __init__(self, driver: str = "differential.mjs") -> None:
        self._driver = driver
        self._said: IO[str]
        self._process: subprocess.Popen[str]
        self._next_id = 1

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")
        command = [node.find_node(), str(node.SCRIPTS / self._driver)]
        self._process = subprocess.Popen(
            command,
            cwd=node.HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with self._process:
            cast("IO[str]", self._process.stdin).close()
            cast("IO[str]", self._process.stdout).read()
        self._said.close()

    def play(self, scripts: Sequence[Script]) -> list[list[Json]]:
        """Play scripts, each to a session of its own.

        Returns:
            For each script what there was to see after each of its steps.

        Raises:
            TheirsError: The process died, or something in it was not as it should be.
        """
        answer = self.ask("play", scripts=[script.to_json() for script in scripts])
        return cast("list[list[Json]]", answer)

    def ask(self, op: str, **arguments: object) -> object:
        """Have the program do something.

        Args:
            op: What to do.
            **arguments: What it needs.

        Returns:
            What it answers.

        Raises:
            TheirsError: The process died, or something in it was not as it should be.
        """
        command = {"id": self._next_id, "op": op, **arguments}
        self._next_id += 1
        to_node, from_node = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        to_node.write(json.dumps(command) + "\n")
        to_node.flush()
        for line in from_node:
            said: dict[str, Any] = json.loads(line)
            if said.get("event") == "ready":
                continue
            if said.get("id") == command["id"] and "result" in said:
                return said["result"]
            raise TheirsError(f"the npm package was driven wrongly: {line[:2000]}")
        self._said.seek(0)
        raise TheirsError(f"node died: {self._said.read()[-4000:]}")
