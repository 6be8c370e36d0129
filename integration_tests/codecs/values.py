"""Texts and JSON values of any kind."""

from random import Random
from typing import Final

TEXTS: Final = ("", "a", "Hello ", "naïve 懒狗", "👩‍👩‍👧‍👦", "\u2028\n\t", '"quoted" \\', "{", "x" * 40)
LEAVES: Final[tuple[object, ...]] = (
    None, True, False, 0, -1, 7, 2**40, 0.5, -1.25e-7, 1e21, 1e-7, 123456.789, "", "text", "☀️",
)  # fmt: skip


class Values:
    """Makes values up.

    Args:
        random: Chooses.
    """

    def __init__(self, random: Random) -> None:
        self._random = random

    def text(self) -> str:
        """Return a text."""
        return self._random.choice(TEXTS)

    def json(self, depth: int = 2) -> object:
        """Return a JSON value."""
        match self._random.choice(("leaf", "leaf", "list", "object")) if depth else "leaf":
            case "list":
                return [self.json(depth - 1) for _ in range(self._random.randint(0, 3))]
            case "object":
                return self.object(depth - 1)
            case _:
                return self._random.choice(LEAVES)

    def object(self, depth: int = 2) -> dict[str, object]:
        """Return a JSON object."""
        keys = self._random.sample(("a", "b", "c", "ü", "key with space"), self._random.randint(0, 3))
        return {key: self.json(max(0, depth - 1)) for key in keys}
