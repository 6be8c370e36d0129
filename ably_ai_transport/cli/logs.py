"""The log of a command: the library's own records, and only the warnings of the Ably SDK."""

import copy
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ably_ai_transport.cli.problems import MISUSED, CliError

CHATTY: Final = ("ably", "httpx", "httpx2", "httpcore", "httpcore2", "websockets")
"""Below warnings, the SDK and its clients log each frame, and URLs with access tokens."""

CONTEXT: Final = ("session", "run", "step", "serial")
"""The keys that the library's records carry, where they are known."""


def quiet_sdk() -> None:
    """Keep the Ably SDK, and the clients that it uses, from logging below warnings."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_to_stderr(*, verbose: bool) -> None:
    """Write the log to standard error, until the process ends.

    Args:
        verbose: Whether debug records of the library are wanted; otherwise only warnings and errors.
    """
    _attach(logging.StreamHandler(), logging.DEBUG if verbose else logging.WARNING)


@contextmanager
def log_to_file(path: Path | None, *, verbose: bool) -> Generator[None]:
    """Write the log to a file for as long as the block lasts.

    Args:
        path: The file; None writes nothing, also no warnings, for commands that own the screen.
        verbose: Whether debug records of the library are wanted, too.

    Raises:
        CliError: The file cannot be written.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else logging.NullHandler()
    except OSError as error:
        raise CliError(f"unable to write the log: {error}", MISUSED) from error
    ours = logging.getLogger("ably_ai_transport")
    before = ours.level
    _attach(handler, logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(before)
        logging.getLogger().removeHandler(handler)
        handler.close()


def _attach(handler: logging.Handler, level: int) -> None:
    handler.setFormatter(LineFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("ably_ai_transport").setLevel(level)


class LineFormatter(logging.Formatter):
    """Formats a record as one line with its context.

    Tracebacks follow the library's own records. Those of the SDK are left out: they lead through its retries,
    and the message says what failed.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        known = ((key, getattr(record, key, None)) for key in CONTEXT)
        shown = copy.copy(record)
        shown.msg = record.getMessage() + "".join(
            f" {key}={value}" for key, value in known if value is not None
        )
        shown.args = None
        if record.name.partition(".")[0] in CHATTY:
            shown.exc_info = shown.exc_text = shown.stack_info = None
        return super().format(shown)
