"""A target of the fuzzer: a parser, the inputs to try, and the refusals that it may answer with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis.strategies import SearchStrategy


class BrokenPromiseError(Exception):
    """A parser took an input and did something that it must never do.

    Args:
        what: The promise, in words that do not depend on the input: findings are told apart by it.
        detail: More, for people.
    """

    def __init__(self, what: str, detail: object = "") -> None:
        super().__init__(f"{what}: {detail!r}" if detail else what)
        self.what = what


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: Its name, ``<room>.<parser>``.
        inputs: The inputs to try.
        run: Parses one input; a coroutine function if the parser needs an event loop.
        allowed: The exceptions with which the parser refuses an input.
    """

    name: str
    inputs: SearchStrategy[Any] = field(repr=False)
    run: Callable[[Any], object] = field(repr=False)
    allowed: tuple[type[Exception], ...] = ()
