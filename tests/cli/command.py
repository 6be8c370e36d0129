"""Runs the command as people do: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

PROGRAM = (sys.executable, "-W", "error", "-m", "ably_ai_transport.cli")
_OURS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
    "AIT_RECORDINGS",
    "ABLY_KEY",
    "ABLY_ENDPOINT",
    "ABLY_AI_TRANSPORT_VERBOSE",
    "HAIP_JWT_SECRET",
    "FORCE_COLOR",
    "TTY_COMPATIBLE",
)


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without what would change what the command does."""
    return {name: value for name, value in os.environ.items() if name not in _OURS} | dict(changes or {})


def run_command(
    *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return _run([*PROGRAM, *arguments], env, timeout)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run some code to its end."""
    return _run([sys.executable, "-c", code, *arguments], None, 30)


def start_command(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> "subprocess.Popen[str]":
    """Start the command."""
    return subprocess.Popen(  # noqa: S603 - our own command
        [*PROGRAM, *arguments],
        env=environment(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8",
    )


def _run(
    command: Sequence[str], env: Mapping[str, str] | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        command,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
        encoding="utf-8",
    )
