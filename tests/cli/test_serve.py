import ast
import io
import json
import os
import re
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import anyio
import httpx
import pytest
from ably import AblyRealtime
from rich.console import Console
from websockets.sync.client import connect

from ably_ai_transport.cli.live_line import describe, live_line
from ably_ai_transport.cli.serve import is_loopback, javascript_line, python_line
from ably_ai_transport.local import Stats
from tests.cli.command import run_command, start_command

if TYPE_CHECKING:
    import subprocess


@contextmanager
def serving(*arguments: str) -> Generator[tuple["subprocess.Popen[str]", str]]:
    """Run the server; yield it with what it printed until it was ready."""
    with start_command("serve", *arguments) as process:
        try:
            output = cast("IO[str]", process.stdout)
            shown = ""
            while "Ctrl-C" not in shown:
                line = output.readline()
                assert line, shown + cast("IO[str]", process.stderr).read()
                shown += line
            yield process, shown
        finally:
            process.kill()


def python_options(shown: str) -> dict[str, object]:
    """Read the options out of the line for Python."""
    [line] = re.findall(r"^AblyRealtime\(.*\)$", shown, re.MULTILINE)
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


async def test_the_line_for_python_connects() -> None:
    with serving("--port", "0", "--key", "app.one:secret", "--key", "app.two:secret") as (process, shown):
        assert "development" in shown
        line = r'^new Ably\.Realtime\({ endpoint: "127.0.0.1", port: \d+, tls: false'
        assert re.search(line, shown, re.MULTILINE)
        options = python_options(shown)
        assert options["key"] == "app.one:secret"
        for key in ("app.one:secret", "app.two:secret"):
            client = AblyRealtime(**{**options, "key": key})  # type: ignore[arg-type]
            try:
                with anyio.fail_after(10):
                    await cast("Any", client).connection.once_async("connected")
                assert cast("Any", client).auth.client_id == "me"
            finally:
                await client.close()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (0, "Stopped.\n", "")


def get(shown: str, path: str) -> object:
    """Ask the server for something with its own key."""
    options = python_options(shown)
    response = httpx.get(
        f"http://{options['endpoint']}{path}", params={"key": str(options["key"])}, trust_env=False
    )
    assert response.status_code == 200, response.text
    return response.json()


def test_what_is_kept_in_a_file_is_there_again(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path / "data.sqlite"))
    with serving(*arguments) as (process, shown):
        assert "is kept in" in shown
        options = python_options(shown)
        url = f"http://{options['endpoint']}channels/c/messages"
        httpx.post(url, params={"key": str(options["key"])}, json={"data": "x"}, trust_env=False)
        process.kill()
        process.wait(10)
    with serving(*arguments) as (process, shown):
        assert python_options(shown)["key"] == options["key"]
        assert [message["data"] for message in cast("Any", get(shown, "channels/c/messages"))] == ["x"]
        second = run_command("serve", *arguments)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "another server has it open" in second.stderr


def test_a_sandbox_provisions_apps() -> None:
    with serving("--port", "0", "--sandbox") as (_, shown):
        [url] = re.findall(r"^ABLY_LOCAL_SANDBOX_URL=(.*)$", shown, re.MULTILINE)
        spec: dict[str, list[dict[str, str]]] = {"keys": [{}, {}]}
        told = httpx.post(f"{url}/apps", json=spec, trust_env=False).json()
        assert len(told["keys"]) == 2
        assert url == f"http://{told['endpoint']}:{told['port']}"


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such signal")
def test_it_stops_when_it_is_told_to() -> None:
    with serving("--port", "0") as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_command("serve", "--port", str(port))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: 127.0.0.1:{port} is in use")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),  # noqa: S104
        (["--host", "example.com"], "--allow-remote"),
        (["--key", "nonsense"], "app.key:secret"),
    ],
)
def test_what_cannot_be_served(arguments: list[str], told: str) -> None:
    result = run_command("serve", "--port", "0", *arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_other_machines_may_come_when_that_is_said() -> None:
    with serving("--host", "0.0.0.0", "--allow-remote", "--port", "0") as (_, shown):  # noqa: S104
        assert "Other machines" in shown
        assert str(python_options(shown)["endpoint"]).startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_the_lines_are_code() -> None:
    options = {
        "endpoint": "h:1/",
        "tls": False,
        "params": {"client_id": 'a"b', "x": True},
    }
    line = python_line(options)
    assert line == 'AblyRealtime(endpoint="h:1/", tls=False, params={"client_id": "a\\"b", "x": True})'
    assert javascript_line({"port": 1, "tls": False}) == "new Ably.Realtime({ port: 1, tls: false })"


def test_with_inspect_there_is_a_page() -> None:
    with serving("--port", "0", "--inspect") as (process, shown):
        [url] = re.findall(r"^Inspector\n(http://127\.0\.0\.1:\d+/)$", shown, re.MULTILINE)
        assert "<title>Inspector</title>" in httpx.get(url, trust_env=False).text
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (0, "Stopped.\n", "")


@pytest.mark.parametrize(("arguments", "rate"), [([], 1_000_000), (["--limits", "ably"], 50)])
def test_clients_are_told_the_rate_of_the_limits(arguments: list[str], rate: int) -> None:
    with serving("--port", "0", *arguments) as (_, shown):
        options = python_options(shown)
        with connect(f"ws://{options['endpoint']}?key={options['key']}", proxy=None) as websocket:
            connected = json.loads(websocket.recv(10))
        assert connected["connectionDetails"]["maxInboundRate"] == rate


def test_limits_that_nobody_knows_are_refused() -> None:
    result = run_command("serve", "--limits", "nobody")
    assert result.returncode == 2
    assert "ably" in result.stderr


def test_a_terminal_is_told_what_the_server_does() -> None:
    before = Stats().snapshot()
    now = {**before, "connections": 3, "channels": 1200, "messages": 2, "appends": 5, "frames_out": 41}
    assert (
        describe(before, now).plain
        == "3 connections  1,200 channels  7/s messages in  41/s frames out  0/s requests"
    )
    assert describe(before, {**now, "refusals": 1234}).plain.endswith("  0/s requests  1,234 refused")


async def test_the_live_line_is_gone_at_the_end_and_not_there_without_a_terminal() -> None:
    plain, terminal = io.StringIO(), io.StringIO()
    async with live_line(Stats(), Console(file=plain)):
        pass
    async with live_line(Stats(connections=7), Console(file=terminal, force_terminal=True, width=100)):
        pass
    assert plain.getvalue() == ""
    shown, erased = "7\x1b", "\x1b[2K"
    assert -1 < terminal.getvalue().find(shown) < terminal.getvalue().rfind(erased)
