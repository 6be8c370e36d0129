"""Capabilities: the operations that a credential grants on each channel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from ably_ai_transport.local.protocol.frames import MODES, Flag
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, denied

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
    "stats",
]

OPERATIONS: Final = frozenset(
    {
        *get_args(Operation),
        "push-subscribe",
        "push-admin",
        "statistics",
        "privileged-headers",
        "batch",
    }
)
"""Every operation that a capability may name; `*` means all."""

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
    """Operations by channel pattern: `name`, `namespace:*`, `*`, or `[*]*` for qualified names as well."""

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
        """Check that an operation is granted.

        Raises:
            RefusedError: 40160, it is not.
        """
        if not self.allows(channel, operation):
            raise denied(channel, operation)

    def check_mutation(self, channel: str, *, own: bool, delete: bool, identified: bool) -> None:
        """Check that a message may be changed; "own" covers the messages of the same clientId only.

        Raises:
            RefusedError: 40160, it may not; 40166, only "own" is granted and the client has no clientId.
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

    def intersect(self, other: Capability) -> Capability:
        """Return the capability that both grant, for a token requested under a key (specification RSA6).

        Args:
            other: The capability of the key.
        """
        rules: dict[str, frozenset[str]] = {}
        for mine, my_ops in self._rules.items():
            for theirs, their_ops in other._rules.items():
                pattern = mine if _covers(theirs, mine) else theirs if _covers(mine, theirs) else None
                if pattern is None:
                    continue
                common = their_ops if "*" in my_ops else my_ops if "*" in their_ops else my_ops & their_ops
                if common:
                    rules[pattern] = rules.get(pattern, frozenset()) | common
        return Capability({pattern: list(ops) for pattern, ops in rules.items()})

    def __bool__(self) -> bool:
        """Tell whether anything is granted."""
        return bool(self._rules)

    def to_json(self) -> str:
        """Return the capability as JSON text, in the order that Ably writes."""
        return json.dumps(
            {
                pattern: ["*"] if "*" in operations else sorted(operations)
                for pattern, operations in self._rules.items()
            },
            separators=(",", ":"),
        )


EVERYTHING: Final = Capability({"*": ["*"]})
"""The capability of an API key by default."""


def parse_capability(text: str) -> Capability:
    """Parse the JSON text of a capability.

    Raises:
        RefusedError: 40000, it is not an object of lists of operations.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise bad_request("a capability must be a JSON object of channel patterns")
    rules: dict[str, list[str]] = {}
    for pattern, operations in cast("dict[str, object]", value).items():
        if not isinstance(operations, list):
            raise bad_request(f"the operations of {pattern!r} in a capability must be a list")
        rules[pattern] = _operations(pattern, cast("list[object]", operations))
    return Capability(rules)


def _operations(pattern: str, names: Sequence[object]) -> list[str]:
    if not names:
        raise bad_request(f"a capability must name an operation for {pattern!r}")
    if "*" in names:
        if len(names) > 1:
            raise bad_request(f"'*' must be the only operation of {pattern!r} in a capability")
        return ["*"]
    for name in names:
        if name not in OPERATIONS:
            raise bad_request(f"unknown operation {name!r} for {pattern!r} in a capability")
    return cast("list[str]", list(names))


def _matches(pattern: str, channel: str) -> bool:
    if pattern in ("*", "[*]*", channel):
        return True
    return pattern.endswith(":*") and channel.startswith(pattern[:-1])


def _covers(wide: str, narrow: str) -> bool:
    """Tell whether every channel of one pattern is a channel of another."""
    if wide == "[*]*":
        return True
    if wide == "*":
        return narrow != "[*]*"
    return _matches(wide, narrow)
