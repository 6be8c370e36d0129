"""Expected failures: a sentence and an exit code instead of a traceback."""

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
        message: The failure, and what to do about it; empty if the output has no reader.
        exit_code: The process's exit code.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """Turn a missing optional package into a sentence that says how to install it.

    Args:
        extra: The extra that brings the packages that the block imports.

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
    """Leave the process with a sentence and an exit code after an expected failure.

    Raises:
        typer.Exit: The block raised an expected failure, alone or in a group.
    """
    try:
        yield
    except BaseException as error:  # an interrupt is explained, too, and so is a group that holds one
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
    """Write an error to standard error, with color where the terminal has it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), message))


def explain(error: BaseException) -> CliError | None:
    """Find the sentence for an exception.

    Args:
        error: The exception, or a group of them.

    Returns:
        The explanation of the first one; None if any of them is unexpected.
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
            # The reader of the output has closed it, and the console gave up.
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
