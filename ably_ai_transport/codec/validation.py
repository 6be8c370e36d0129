"""Validation of the dicts that inputs are built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from ably_ai_transport.wire import InvalidArgumentError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
InputTypes: TypeAlias = Mapping[str, object]
"""A pydantic type by input kind: of the message of ``user-message``, of the payload of all other kinds."""

TAG = "tag:"
"""Begins the tags of discriminated unions, which error paths leave out."""


class InputChecks:
    """Checks messages and payloads against pydantic types. Unknown fields pass if a type allows them.

    Args:
        types: The types. Kinds without one are not checked.
    """

    def __init__(self, types: InputTypes) -> None:
        self._types = types
        self._adapters: dict[str, TypeAdapter[object]] = {}

    def check(self, kind: str, value: T) -> T:
        """Check a value.

        Args:
            kind: The input kind, such as ``tool-result``.
            value: The message or payload.

        Returns:
            A copy of it.

        Raises:
            InvalidArgumentError: A field is missing or of the wrong type. The message names it (40003).
        """
        if kind not in self._types:
            return value
        # On first use: pydantic takes most of the start-up time, and readers never need it.
        from pydantic import TypeAdapter, ValidationError

        adapter = self._adapters.get(kind)
        if adapter is None:
            adapter = self._adapters[kind] = TypeAdapter(cast("type[object]", self._types[kind]))
        try:
            return cast("T", adapter.validate_python(value, strict=True))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            what = kind.replace("-", " ")
            where = ".".join(str(step) for step in first["loc"] if not str(step).startswith(TAG)) or what
            raise InvalidArgumentError(
                f"unable to build {what}; {where}: {first['msg']}", cause=error
            ) from error
