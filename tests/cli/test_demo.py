import os
import re
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, cast

import pytest

from ably_ai_transport.version import __version__
from tests.cli.command import run_command, run_python, start_command
from tests.cli.test_model import sse
from tests.cli.test_replies import WORDS, messages, responses, write

LIMIT_SECONDS = 60


@pytest.fixture
def recordings(tmp_path: Path) -> str:
    write(tmp_path / "openai" / "one.jsonl", responses(WORDS, ["Let ", "me ", "see."]))
    write(tmp_path / "anthropic" / "two.jsonl", messages(WORDS))
    return str(tmp_path)


@contextmanager
def model_endpoint(words: Sequence[str], seconds: float) -> Generator[str]:
    """Something that speaks like a model's API, and takes its time."""
    events = [sse([event]) for event in responses(words)]

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            with suppress(OSError):  # the agent may be told to stop
                for event in events:
                    self.wfile.write(event)
                    time.sleep(seconds / len(events))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_script_passes_its_checks_in_time(recordings: str) -> None:
    begin = time.monotonic()
    result = run_command("demo", "--recordings", recordings, "--speed", "2", timeout=LIMIT_SECONDS)
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - begin < LIMIT_SECONDS
    shown = result.stdout
    assert "2 recorded replies" in shown
    assert len(re.findall(r"^  ✓ ", shown, re.MULTILINE)) == 7
    assert "✗" not in shown
    assert "All 7 checks passed." in shown
    for scene in ("1. Alice asks", "2. Alice asks again", "3. A third question"):
        assert f"\n{scene}" in shown
    assert re.search(r"Alice ■ cancelled .*\n.*Bob   ■ cancelled", shown)
    assert re.search(r"Carol ✓ complete ", shown)
    for figure in ("Tokens from the model", "Merge factor", "Bytes per token", "Time to first token"):
        assert re.search(rf"{figure} +[1-9]", shown)
    assert "\x1b" not in shown


def test_it_plays_within_the_limits_of_ably(recordings: str) -> None:
    arguments = ("--script", "--recordings", recordings, "--speed", "5", "--limits", "ably")
    result = run_command("demo", *arguments, timeout=LIMIT_SECONDS)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout


def test_it_needs_no_recordings(tmp_path: Path) -> None:
    result = run_command(
        "demo", "--script", "--speed", "2", "--log", str(tmp_path / "log"), timeout=LIMIT_SECONDS
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "All 7 checks passed." in result.stdout
    assert (tmp_path / "log").stat().st_size > 0


def test_a_model_behind_an_endpoint() -> None:
    with model_endpoint(WORDS, seconds=2) as url:
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url}
        result = run_command("demo", "--model", "fake", env=env, timeout=LIMIT_SECONDS)
    assert (result.returncode, result.stderr) == (0, "")
    assert "the model fake, live" in result.stdout


def test_a_model_that_is_not_there_is_told() -> None:
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    result = run_command("demo", env=env, timeout=LIMIT_SECONDS)
    assert result.returncode == 1
    assert "the model at http://127.0.0.1:9/v1 cannot be reached" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_check_that_fails_is_told() -> None:
    with model_endpoint(["Short."], seconds=0) as url:
        env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url}
        result = run_command("demo", env=env, timeout=LIMIT_SECONDS)
    assert result.returncode == 1
    assert "✗ both show it as cancelled" in result.stdout
    assert "Tokens from the model" in result.stdout
    assert re.match(r"error: 3 of 7 checks did not pass: .*both show it as cancelled", result.stderr)
    assert result.stderr.count("\n") == 1


def test_whoever_reads_may_leave() -> None:
    with start_command("demo", "--speed", "5") as process:
        output, errors = cast("IO[str]", process.stdout), cast("IO[str]", process.stderr)
        assert output.readline() == "ably-ai-transport demo\n"
        output.close()
        assert process.wait(LIMIT_SECONDS) == 1
        assert errors.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="other systems have other signals")
def test_an_interrupt_ends_everything_in_order() -> None:
    with start_command("demo") as process:
        output, errors = cast("IO[str]", process.stdout), cast("IO[str]", process.stderr)
        assert any("characters" in line for line in output)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_SECONDS) == 130
        assert errors.read() == ""


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    result = run_command("demo", "--recordings", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr == f"error: there are no recorded model streams of some length in {tmp_path}\n"


def test_the_version() -> None:
    assert run_command("--version").stdout == f"ably-ai-transport {__version__}\n"


@pytest.mark.parametrize("package", ["typer", "httpx"])
def test_a_missing_package_is_told(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from ably_ai_transport.cli import main; main()"
    result = run_python(code, "demo")
    assert result.returncode == 2
    assert 'pip install "ably-ai-transport[cli]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_importing_it_loads_nothing_of_what_commands_need() -> None:
    code = (
        "import sys, ably_ai_transport.cli;"
        "print([name for name in ('typer', 'rich', 'uvicorn', 'httpx', 'ably') if name in sys.modules])"
    )
    result = run_python(code)
    assert result.stdout == "[]\n"


class Terminal:
    """A person at a terminal, who types and reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def wait_for(self, condition: Callable[[str], object], seconds: float = 20) -> None:
        """Read until what came since the last time fulfils a condition."""
        deadline = time.monotonic() + seconds
        while not condition(self._shown):
            assert time.monotonic() < deadline, self._shown[-4000:]
            try:
                self._shown += os.read(self._fd, 65536).decode("utf-8", "replace")
            except OSError:  # the other end is gone
                assert condition(self._shown), self._shown[-4000:]
        self._shown = ""


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of the POSIX kind")
def test_a_person_at_the_keyboard(recordings: str) -> None:
    import fcntl
    import struct
    import termios

    keyboard, fd = os.openpty()
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(fd)
    arguments = ("demo", "--recordings", recordings, "--speed", "2")
    process = start_command(*arguments, env={"TERM": "xterm-256color"}, stdin=fd, stdout=fd, stderr=fd)
    try:
        terminal = Terminal(keyboard)
        terminal.wait_for(lambda shown: "Type a question" in shown)
        terminal.type("what?\r")
        terminal.wait_for(lambda shown: "streaming" in shown and "word3" in shown)
        terminal.type("\x1b")
        terminal.wait_for(lambda shown: shown.count("cancelled") >= 2)
        terminal.type("/join\r")
        terminal.wait_for(lambda shown: "Carol came late" in shown)
        terminal.type("/error\r")
        terminal.wait_for(lambda shown: "failed" in shown)
        terminal.type("/nonsense\r")
        terminal.wait_for(lambda shown: "There is no /nonsense" in shown)
        terminal.type("/quit\r")
        terminal.wait_for(lambda shown: "Appends per second" in shown and "Follower's lag" in shown)
        assert process.wait(10) == 0
        assert termios.tcgetattr(fd) == before
    finally:
        process.kill()
        process.wait()
        os.close(fd)
        os.close(keyboard)
