import errno
import importlib
import sys

import pytest
import typer

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport.cli.problems import (
    FAILED,
    INTERRUPTED,
    MISUSED,
    CliError,
    explain,
    explained,
    needs_extra,
)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (CliError("no", MISUSED), "no", MISUSED),
        (
            AITransportError("unable to send; closed", ErrorCode.SESSION_CLOSED),
            "unable to send; closed",
            FAILED,
        ),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused", FAILED),
        (OSError(errno.EADDRINUSE, "Address in use"), "choose another port", FAILED),
        (TimeoutError("Bob saw nothing"), "Bob saw nothing", FAILED),
        (KeyboardInterrupt(), "interrupted", INTERRUPTED),
        (ExceptionGroup("", [OSError("no route")]), "no route", FAILED),
        (BaseExceptionGroup("", [SystemExit(1)]), "", FAILED),
        (BaseExceptionGroup("", [ExceptionGroup("", [CliError("inner")])]), "inner", FAILED),
        (BaseExceptionGroup("", [CliError("one"), KeyboardInterrupt()]), "interrupted", INTERRUPTED),
    ],
)
def test_what_was_to_be_expected_is_a_sentence(error: BaseException, message: str, code: int) -> None:
    explanation = explain(error)
    assert explanation is not None
    assert message in explanation.message
    assert explanation.exit_code == code


@pytest.mark.parametrize(
    "error", [ValueError("oops"), ExceptionGroup("", [CliError("known"), ValueError("unknown")])]
)
def test_what_was_not_stays_what_it_is(error: Exception) -> None:
    assert explain(error) is None
    with pytest.raises(type(error)), explained():
        raise error


def test_the_sentence_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, explained():
        raise CliError("that [bold]cannot[/bold] be", MISUSED)
    assert caught.value.exit_code == MISUSED
    shown = capsys.readouterr()
    assert shown.err == "error: that [bold]cannot[/bold] be\n"
    assert shown.out == ""


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(CliError, match=r"'uvicorn'.*ably-ai-transport\[cli\]") as caught, needs_extra("cli"):
        importlib.import_module("uvicorn")
    assert caught.value.exit_code == MISUSED


def test_a_module_of_ours_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ably_ai_transport.nowhere", None)
    with pytest.raises(ModuleNotFoundError), needs_extra("cli"):
        importlib.import_module("ably_ai_transport.nowhere")
