"""What a credential may do on which channels (Ably specification, capability operations)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from ably_ai_transport.local.protocol import MODES, Flag
from ably_ai_transport.local.refusals import RefusedError, bad_request, denied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Operation: TypeAlias = Literal[
    "publish",
    "subscribe",
    "presence",
    "history",
    "channel-metadata",
    "annotation-publish",
    "annotation-subscribe",
    "object-subscribe",
    "object-publish",
    "message-update-own",
    "message-update-any",
    "message-delete-own",
    "message-delete-any",
]

_MODE_OPERATIONS: Final[tuple[tuple[Flag, Operation], ...]] = (
    (Flag.PRESENCE, "presence"),
    (Flag.PUBLISH, "publish"),
    (Flag.SUBSCRIBE, "subscribe"),
    (Flag.PRESENCE_SUBSCRIBE, "subscribe"),
    (Flag.ANNOTATION_PUBLISH, "annotation-publish"),
    (Flag.ANNOTATION_SUBSCRIBE, "annotation-subscribe"),
    (Flag.OBJECT_SUBSCRIBE, "object-subscribe"),
    (Flag.OBJECT_PUBLISH, "object-publish"),
)


class Capability:
    """Operations by channel pattern: `name`, `namespace:*` or `*`."""

    __slots__ = ("_channels", "_rules")

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        self._rules = {pattern: frozenset(operations) for pattern, operations in rules.items()}
        self._channels: dict[str, frozenset[str]] = {}

    def operations(self, channel: str) -> frozenset[str]:
        """Return the operations granted on a channel; `*` among them means all."""
        granted = self._channels.get(channel)
        if granted is None:
            matching = [ops for pattern, ops in self._rules.items() if _matches(pattern, channel)]
            granted = self._channels[channel] = frozenset[str]().union(*matching)
        return granted

    def allows(self, channel: str, operation: Operation) -> bool:
        """Tell whether an operation on a channel is granted."""
        granted = self.operations(channel)
        return operation in granted or "*" in granted

    def check(self, channel: str, operation: Operation) -> None:
        """Let an operation pass or refuse it.

        Raises:
            RefusedError: 40160, it is not granted.
        """
        if not self.allows(channel, operation):
            raise denied(channel, operation)

    def check_mutation(self, channel: str, *, own: bool, delete: bool, identified: bool) -> None:
        """Let a message be changed or refuse it: "own" covers the messages of the same clientId only.

        Raises:
            RefusedError: 40160, or 40166 when only "own" is granted to a client without clientId.
        """
        any_: Operation = "message-delete-any" if delete else "message-update-any"
        own_: Operation = "message-delete-own" if delete else "message-update-own"
        if self.allows(channel, any_):
            return
        if self.allows(channel, own_):
            if not identified:
                raise RefusedError(
                    40166,
                    401,
                    f"a client without clientId has no own messages: {any_} is needed on {channel}",
                )
            if own:
                return
        raise denied(channel, any_)

    def modes(self, channel: str, requested: Flag) -> Flag:
        """Return those of the requested attach modes that are granted on the channel."""
        granted = Flag(0)
        for mode, operation in _MODE_OPERATIONS:
            if requested & mode and self.allows(channel, operation):
                granted |= mode
        return granted & MODES

    def to_json(self) -> str:
        """Return the capability as the JSON text that tokens carry."""
        return json.dumps({pattern: sorted(ops) for pattern, ops in self._rules.items()})


EVERYTHING: Final = Capability({"*": ["*"]})
"""What an API key may do."""


def parse_capability(text: str) -> Capability:
    """Read the JSON text of a capability.

    Raises:
        RefusedError: 40000, it is not an object of lists of operations.
    """
    try:
        value: object = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise bad_request("a capability must be a JSON object of channel patterns")
    rules: dict[str, list[str]] = {}
    for pattern, operations in cast("dict[str, object]", value).items():
        if not isinstance(operations, list):
            raise bad_request(f"the operations of {pattern!r} in a capability must be a list")
        rules[pattern] = [str(operation) for operation in cast("list[object]", operations)]
    return Capability(rules)


def _matches(pattern: str, channel: str) -> bool:
    if pattern in ("*", channel):
        return True
    return pattern.endswith(":*") and channel.startswith(pattern[:-1])
