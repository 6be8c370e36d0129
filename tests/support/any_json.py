"""Values that strangers may send: any JSON, and what only Python takes for JSON."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


class Endless(int):
    """A number with more digits than Python prints."""

    def __repr__(self) -> str:
        return "an endless number"

    __str__ = __repr__


SCALARS = (
    st.none()
    | st.just(Endless(10**5000))
    | st.booleans()
    | st.integers(-10, 10)
    | st.sampled_from([2**53, 2**64, -(2**64), 10**400, 1.0, 1.5, 1e300, float("nan"), float("inf")])
    | st.sampled_from(["", "a", "ab", "c1", "0", "{", '{"a":1}', "\ud83d", "\ude00", "😀", "x" * 50])
    | st.text(max_size=5)
)


def _inside(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(KEYS), values, max_size=4)


KEYS = ("type", "id", "index", "text", "content", "a", "\ud83d")
ANY: st.SearchStrategy[Any] = st.recursive(SCALARS, _inside, max_leaves=8)


class Deep(list[Any]):
    """A list inside of a list, and so on, deeper than Python recurses."""

    def __init__(self, levels: int = 2000) -> None:
        value: list[Any] = []
        for _ in range(levels):
            value = [value]
        super().__init__([value])

    def __repr__(self) -> str:
        return "a deep list"


DEEP: Any = Deep()


def objects(
    kinds: Sequence[str], fields: Sequence[str], *, key: str = "type", values: st.SearchStrategy[Any] = ANY
) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of known kinds, and of others, with any values in known fields."""
    kind = st.sampled_from(kinds) | values
    rest = st.dictionaries(st.sampled_from(fields), values | st.just(DEEP), max_size=6)

    def build(kind: object, rest: dict[str, Any]) -> dict[str, Any]:
        return {**rest, key: kind}

    return st.builds(build, kind, rest)
