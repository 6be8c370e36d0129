"""Failures that a person can do something about: a sentence and an exit code, no traceback."""

import errno
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import NoReturn, cast

import anyio
import typer
from rich.console import Console
from rich.text import Text

from ably_ai_transport import AITransportError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


class CliError(Exception):
    """The command cannot go on, and says why.

    Attributes:
        message: What is wrong, and what to do about it; empty where there is nobody to tell.
        exit_code: The process's exit code.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """Turn the absence of an optional package into a sentence on how to install it.

    Args:
        extra: The extra that brings the packages which are imported in the block.

    Raises:
        CliError: One of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ably_ai_transport."):
            raise
        raise CliError(
            f"This command needs the package {error.name!r}, which is not installed:"
            f' pip install "ably-ai-transport[{extra}]"',
            MISUSED,
        ) from error


@contextmanager
def explained() -> Generator[None]:
    """Leave the process with a sentence and an exit code where one of the expected things goes wrong.

    Raises:
        typer.Exit: Something that has an explanation was raised, alone or in a group.
    """
    try:
        yield
    except BaseException as error:
        failure = explain(error)
        if failure is None:
            raise
        if failure.message:
            complain(failure.message)
        raise typer.Exit(failure.exit_code) from None


def run(work: Callable[[], Coroutine[object, object, int]]) -> NoReturn:
    """Run a command to its end.

    Args:
        work: The command; returns the exit code.

    Raises:
        typer.Exit: Always.
    """
    with explained():
        code = anyio.run(work)
    raise typer.Exit(code)


def complain(message: str) -> None:
    """Write a sentence to where errors go, in red where there are colours."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), message))


def explain(error: BaseException) -> CliError | None:
    """Find the sentence for an exception.

    Args:
        error: What was raised; of a group, the first that is not merely a cancellation counts.

    Returns:
        The explanation; None when it was not to be expected.
    """
    causes = list(_leaves(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return CliError("interrupted", INTERRUPTED)
    explanations = [_explain_one(cause) for cause in causes]
    if not explanations or any(explanation is None for explanation in explanations):
        return None
    return explanations[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _explain_one(error: BaseException) -> CliError | None:
    match error:
        case CliError():
            return error
        case AITransportError():
            return CliError(str(error))
        case SystemExit():
            # Whoever read the output has left, and the console gave up.
            return CliError("", error.code if isinstance(error.code, int) else FAILED)
        case TimeoutError():
            return CliError(f"it took too long{_because(error)}")
        case OSError() if error.errno == errno.EADDRINUSE:
            return CliError("the address is in use; choose another port with --port")
        case OSError() if error.errno == errno.EACCES:
            return CliError("permission denied; choose a port above 1023 with --port")
        case OSError():
            return CliError(f"{error.strerror or error}")
        case _:
            return None


def _because(error: BaseException) -> str:
    return f": {error}" if str(error) else ""
