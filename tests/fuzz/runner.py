"""Runs targets for a time, and keeps the smallest input of each distinct failure."""

import ast
import asyncio
import inspect
import logging
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.target import BrokenPromiseError, Target

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("ably_ai_transport", "codecs")
_PER_ROUND: Final = 200
_SHRINK_SECONDS: Final = 5.0
_SLOW_SECONDS: Final = 5.0
"""The longest time that one input may take: of the processor for plain functions, of the clock for others."""


@dataclass
class Finding:
    """A distinct failure of a target.

    Attributes:
        target: The name of the target.
        signature: The kind of the failure; inputs with the same one have the same cause.
        value: The smallest input known.
        trace: The traceback of that input.
        count: How many inputs failed this way.
    """

    target: str
    signature: str
    value: object
    trace: str
    count: int = 1


@dataclass
class Report:
    """The result of a target.

    Attributes:
        target: The name of the target.
        executions: How many inputs were tried.
        seconds: How long it took.
        findings: The distinct failures by signature.
    """

    target: str
    executions: int = 0
    seconds: float = 0.0
    findings: dict[str, Finding] = field(default_factory=dict[str, Finding])


class Probe:
    """Tries inputs of one target and tells apart what goes wrong. A context manager.

    An input fails if the parser raises an exception that its target does not allow, logs an error, leaves an
    exception behind in the event loop, or takes too long.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stack = ExitStack()
        self._errors = _ErrorLog()
        self._loose: list[BaseException] = []
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        self._stack.enter_context(_listening(self._errors))
        if inspect.iscoroutinefunction(self._target.run):
            self._runner = self._stack.enter_context(asyncio.Runner())
            self._runner.get_loop().set_exception_handler(self._on_loose)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def try_input(self, value: object) -> Exception | None:
        """Try one input.

        Returns:
            The failure; None if the parser did what it should.
        """
        self._errors.records.clear()
        self._loose.clear()
        started = self._now()
        try:
            self._run(value)
        except self._target.allowed:
            pass
        except Exception as error:  # noqa: BLE001 - this is what we look for
            return error
        for record in self._errors.records:
            cause = record.exc_info[1] if record.exc_info else None
            if not isinstance(cause, self._target.allowed):
                failure = BrokenPromiseError("an error was logged", record.getMessage())
                failure.__cause__ = cause
                return failure
        if self._loose:
            failure = BrokenPromiseError("an exception was left behind in the event loop")
            failure.__cause__ = self._loose[0]
            return failure
        took = self._now() - started
        return (
            BrokenPromiseError("the input takes too long", f"{took:.1f} s") if took > _SLOW_SECONDS else None
        )

    def _run(self, value: object) -> None:
        if self._runner is None:
            self._target.run(value)
        else:
            self._runner.run(_in_time(self._target, value))

    def _now(self) -> float:
        return time.process_time() if self._runner is None else 0.0

    def _on_loose(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        message = str(context.get("message"))
        self._loose.append(error if isinstance(error, BaseException) else RuntimeError(message))


def fuzz(
    target: Target,
    *,
    seconds: float,
    first_seed: int,
    examples: int | None = None,
    on_finding: Callable[[Finding], object] = lambda _: None,
) -> Report:
    """Try inputs for a while.

    Args:
        target: The target.
        seconds: How long.
        first_seed: The seed of the first round; the same seed tries the same inputs in the same order.
        examples: How many inputs to try at most; None tries as many as there is time for.
        on_finding: Called with each distinct failure once it is known.

    Returns:
        The executions and the failures.
    """
    report = Report(target.name)
    began = time.monotonic()
    deadline = began + seconds
    round_seed = first_seed
    with Probe(target) as probe:
        while time.monotonic() < deadline and (examples is None or report.executions < examples):
            wanted = _PER_ROUND if examples is None else min(_PER_ROUND, examples - report.executions)
            found = _round(target, probe, report, round_seed, wanted, deadline)
            for finding in found:
                on_finding(finding)
            round_seed += 1
    report.seconds = time.monotonic() - began
    return report


def _round(
    target: Target, probe: Probe, report: Report, round_seed: int, examples: int, deadline: float
) -> list[Finding]:
    known = set(report.findings)
    first_failure: float | None = None

    @seed(round_seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=tuple(cast("Iterable[HealthCheck]", HealthCheck)),
        report_multiple_bugs=True,
    )
    @given(target.inputs)
    def test(value: object) -> None:
        nonlocal first_failure
        now = time.monotonic()
        shrunk_enough = first_failure is not None and now > first_failure + _SHRINK_SECONDS
        if shrunk_enough or (first_failure is None and now > deadline):
            return
        report.executions += 1
        failure = probe.try_input(value)
        if failure is None:
            return
        _note(report, value, failure)
        # A failure of an earlier round is not shrunk again: the round goes on to look for others.
        if signature_of(failure) not in known:
            first_failure = first_failure or now
            raise failure

    try:
        test()
    except (Exception, BaseExceptionGroup):
        if len(report.findings) == len(known):
            raise  # a mistake in a strategy, and no failure of the target
    return [finding for signature, finding in report.findings.items() if signature not in known]


def _note(report: Report, value: object, failure: Exception) -> None:
    signature = signature_of(failure)
    finding = report.findings.get(signature)
    trace = "".join(traceback.format_exception(failure, limit=-12)).strip()
    if finding is None:
        report.findings[signature] = Finding(report.target, signature, value, trace)
        return
    finding.count += 1
    if _size(value) < _size(finding.value):
        finding.value, finding.trace = value, trace


def _size(value: object) -> tuple[int, str]:
    text = repr(value)
    return len(text), text


def signature_of(error: BaseException) -> str:
    """Return the kind of a failure: the exception, and the last function of ours that it came through."""
    origin = error
    while isinstance(origin, BrokenPromiseError) and origin.__cause__ is not None:
        origin = origin.__cause__
    if isinstance(origin, BaseExceptionGroup):
        return signature_of(cast("BaseExceptionGroup[BaseException]", origin).exceptions[0])
    place = ""
    for frame in traceback.extract_tb(origin.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _PACKAGES:
            place = f"{path.relative_to(_ROOT)}:{frame.name}"
    what = error.what if isinstance(error, BrokenPromiseError) else ""
    kind = "" if isinstance(origin, BrokenPromiseError) else type(origin).__name__
    return " · ".join(part for part in (what, kind, place) if part)


def write_input(value: object) -> str:
    """Return an input as text on one line; :func:`read_input` reads it."""
    return repr(value)


def read_input(text: str) -> object:
    """Read an input.

    Raises:
        ValueError: The text is no input.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return ast.literal_eval(_Constants().visit(tree))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"unable to read input; {error}") from error


class _Constants(ast.NodeTransformer):
    """Makes literals of the names with which floats write themselves."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


class _ErrorLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _listening(log: _ErrorLog) -> Generator[None]:
    root = logging.getLogger()
    root.addHandler(log)
    try:
        yield
    finally:
        root.removeHandler(log)


async def _in_time(target: Target, value: object) -> None:
    run = cast("Callable[[object], Any]", target.run)
    try:
        async with asyncio.timeout(_SLOW_SECONDS * 2):
            await run(value)
    except TimeoutError:
        raise BrokenPromiseError("the input takes too long") from None
