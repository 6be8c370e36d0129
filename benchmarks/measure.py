"""Shared helpers: a server in its own process, clients, percentiles, rounds."""

import json
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ably import AblyRealtime

from ably_ai_transport.local import LocalServer, LocalServerOptions

ROOT = Path(__file__).parents[1]


@contextmanager
def process(module: str, *arguments: str) -> Generator[dict[str, Any]]:
    """Run a module in another process. It prints JSON when it is ready, and ends with its standard input.

    Args:
        module: Its name.
        arguments: Its arguments.

    Yields:
        The JSON that it printed.
    """
    running = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert running.stdout is not None
    assert running.stdin is not None
    try:
        yield json.loads(running.stdout.readline())
    finally:
        running.stdin.close()
        running.wait()
        running.stdout.close()


@contextmanager
def server_process(data: Path | None = None, *, limits: str = "none") -> Generator["Address"]:
    """Run a local server in another process.

    Args:
        data: The file that keeps everything; in memory when left out.
        limits: ``none``, or ``ably`` for those that Ably publishes.

    Yields:
        A server object that is not entered: it knows the other's address and key, for client options.
    """
    with process("benchmarks.server", limits, *([str(data)] if data else [])) as told:
        yield Address(told["port"], told["key"], told["pid"])


class Address(LocalServer):
    """A local server that runs in a process of its own."""

    def __init__(self, port: int, key: str, pid: int) -> None:
        super().__init__(LocalServerOptions(keys=(key,)))
        self._elsewhere = port
        self.pid = pid

    @property
    def port(self) -> int:
        """The other server's port."""
        return self._elsewhere


@asynccontextmanager
async def client(server: LocalServer, client_id: str, **options: object) -> AsyncGenerator[AblyRealtime]:
    """Connect an Ably client, and close it at the end."""
    realtime = AblyRealtime(**server.python_options(client_id=client_id, **options))
    try:
        yield realtime
    finally:
        await realtime.close()


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} does not show its memory")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile of some values; ``share`` is between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def median_of(rounds: Sequence[float]) -> float:
    """Return the median of some rounds."""
    return statistics.median(rounds)


def run_node(script: str, arguments: dict[str, object], *options: str) -> dict[str, Any]:
    """Run a script of ``integration_tests/js`` and return the JSON that it prints; ``options`` are node's."""
    done = subprocess.run(
        ["node", *options, str(ROOT / "integration_tests" / "js" / script), json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def say(text: str) -> None:
    """Print the progress of a long benchmark."""
    print(f"… {text}", file=sys.stderr, flush=True)
