"""Log records that name their session, run and step."""

import logging
from collections.abc import MutableMapping
from typing import Any, TypeAlias

AnyLogger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"
"""The target of a session's log records."""

LOGGER = logging.getLogger("ably_ai_transport.session")


class SessionLog(logging.LoggerAdapter[Any]):
    """A logger that adds its context to the ``extra`` of each record.

    Args:
        logger: Gets the records.
        context: The fields of each record, such as ``session`` and ``run``.
    """

    def __init__(self, logger: AnyLogger, context: dict[str, object]) -> None:
        super().__init__(logger, context)
        self._context = context

    def bind(self, **context: object) -> "SessionLog":
        """Return a logger with more context."""
        return SessionLog(self.logger, self._context | context)

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Merge the context with the extra of one record."""
        kwargs["extra"] = {**self._context, **(kwargs.get("extra") or {})}
        return msg, kwargs
