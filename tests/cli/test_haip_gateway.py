"""The gateway as people start it."""

import ast
import re
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import anyio
import pytest
from ably_ai_transport_haip import HaipMessage, create_haip_client
from ably_ai_transport_vercel import UIMessageCodec, text_of

from ably_ai_transport import ClientSession
from ably_ai_transport.channel import opened
from tests.cli.command import run_command, start_command
from tests.cli.test_serve import python_options, serving

if TYPE_CHECKING:
    import subprocess


@contextmanager
def gateway(*arguments: str) -> Generator[tuple["subprocess.Popen[str]", str]]:
    """Run the gateway; yield it with what it printed until it was ready."""
    with start_command("haip-gateway", "--port", "0", *arguments) as process:
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


def client_options(shown: str) -> dict[str, Any]:
    """Read the options out of the line for a HAIP client."""
    [line] = re.findall(r"^create_haip_client\(.*\)$", shown, re.MULTILINE)
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


async def ask(shown: str, text: str) -> str:
    """Ask something in thread 1; return the reply."""
    said: list[str] = []
    over = anyio.Event()

    def hear(message: HaipMessage) -> None:
        if message.type == "MESSAGE_PART":
            said.append(str(message.payload["text"]))
        if message.type == "RUN_FINISHED":
            over.set()

    async with create_haip_client(**client_options(shown)) as client:
        client.on("message", hear)
        await client.start_run("1")
        await client.send_text_message("USER", text)
        with anyio.fail_after(20):
            await over.wait()
    return "".join(said)


async def test_everything_is_there_without_any_option() -> None:
    with gateway() as (process, shown):
        reply = await ask(shown, "Hello")
        assert len(reply) > 100
        async with (
            opened(python_options(shown)) as you,
            ClientSession(you, "haip:1", codec=UIMessageCodec()) as session,
        ):
            messages = [text_of(entry.message) for entry in await session.view.load_all()]
        assert messages == ["Hello", reply]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (0, "Stopped.\n", "")


async def test_in_front_of_a_server_that_runs_already() -> None:
    secret = "a secret that is long enough for everybody"
    key = "dev.key:secret"
    with serving("--port", "0", "--key", key) as (_, server):
        options = python_options(server)
        endpoint = str(options["endpoint"])
        with gateway("--key", key, "--endpoint", endpoint, "--secret", secret) as (_, shown):
            assert secret not in shown
            reply = await ask(shown, "Hello")
            async with (
                opened(options) as you,
                ClientSession(you, "haip:1", codec=UIMessageCodec()) as session,
            ):
                messages = [text_of(entry.message) for entry in await session.view.load_all()]
            assert messages == ["Hello", reply]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),  # noqa: S104
        (["--secret", "short"], "shorter than 32 bytes"),
        (["--endpoint", "127.0.0.1:1"], "needs a key"),
    ],
)
def test_what_cannot_be_started(arguments: list[str], told: str) -> None:
    result = run_command("haip-gateway", "--port", "0", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_key_that_is_refused_is_told_without_its_secret() -> None:
    with serving("--port", "0", "--key", "dev.key:secret") as (_, server):
        endpoint = str(python_options(server)["endpoint"])
        result = run_command("haip-gateway", "--port", "0", "--key", "dev.key:wrong", "--endpoint", endpoint)
    assert (result.returncode, result.stdout) == (1, "")
    where = endpoint.rstrip("/")
    assert f"error: unable to connect to {where}; the key dev.key was refused" in result.stderr
    assert "wrong" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    result = run_command("haip-gateway", "--port", "0", "--key", "dev.key:secret", "--endpoint", endpoint)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"error: unable to connect to {endpoint}; " in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr
