"""Tests of the commands' logs: they hold the library's records, and never a key or a token."""

import io
import json
import logging
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from ably_ai_transport.cli.logs import LineFormatter
from tests.cli.command import run_command, run_python
from tests.cli.test_serve import python_options, serving

SECRETS = re.compile(r"eyJ[\w-]+\.|access_?token|:secret", re.IGNORECASE)
"""A token, the parameter that carries one, and the secret half of the tests' keys."""


def test_the_log_of_a_demo_holds_no_token(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = run_command("demo", "--script", "--speed", "5", "--verbose", "--log", str(log), timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    written = log.read_text(encoding="utf-8")
    assert " INFO ably_ai_transport.cli: invocation " in written
    assert " session=demo:kitchen-table" in written
    assert not SECRETS.search(written)


def test_the_log_of_a_server_holds_no_token() -> None:
    with serving("--port", "0", "--key", "dev.key:secret", "--verbose") as (process, shown):
        url = f"http://{python_options(shown)['endpoint']}"
        httpx.get(f"{url}channels/c/messages", params={"key": "dev.key:secret"}, trust_env=False)
        httpx.get(f"{url}channels/c/messages", params={"key": "dev.key:secretly"}, trust_env=False)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=10)[1]
    assert not SECRETS.search(errors)


def test_a_demo_that_owns_the_screen_has_no_other_place_for_its_log() -> None:
    result = run_command("demo", "--script", "--verbose")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --verbose needs a file to log to here: add --log FILE.\n"


@pytest.mark.parametrize("command", ["serve", "demo", "haip-gateway"])
def test_every_command_quiets_the_sdk(command: str) -> None:
    """The SDK logs URLs with access tokens at INFO, so its level is raised in any environment."""
    code = """
import json, logging, sys
from typer.testing import CliRunner
from ably_ai_transport.cli import app, logs

logging.basicConfig(level=logging.DEBUG)
CliRunner().invoke(app.app, [sys.argv[1], "--port", "-1"])
print(json.dumps([logging.getLogger(name + ".any").getEffectiveLevel() for name in logs.CHATTY]))
"""
    levels = json.loads(run_python(code, command).stdout)
    assert set(levels) == {logging.WARNING}


def test_verbose_may_come_from_the_environment() -> None:
    result = run_command("demo", "--script", env={"ABLY_AI_TRANSPORT_VERBOSE": "1"})
    assert result.returncode == 2
    assert "--log FILE" in result.stderr


def formatted(name: str, message: str, **extra: object) -> str:
    """Log an exception; return what is written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter())
    try:
        raise ValueError("the reason")
    except ValueError:
        record = logging.getLogger(name).makeRecord(
            name, logging.ERROR, __file__, 1, message, ("50 %",), sys.exc_info(), extra=extra
        )
    handler.handle(record)
    return written.getvalue()


def test_a_record_of_the_library_has_its_context_and_its_traceback() -> None:
    written = formatted(
        "ably_ai_transport.session", "unable to end at %s", session="chat:1", run="r1", step=None
    )
    first, *rest = written.splitlines()
    assert first.endswith(" ERROR ably_ai_transport.session: unable to end at 50 % session=chat:1 run=r1")
    assert rest[-1] == "ValueError: the reason"


def test_a_record_of_the_sdk_has_no_traceback() -> None:
    written = formatted("ably.realtime.connectionmanager", "unable to connect at %s")
    assert written.endswith(" ERROR ably.realtime.connectionmanager: unable to connect at 50 %\n")
    assert written.count("\n") == 1
