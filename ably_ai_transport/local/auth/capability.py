"""Capabilities: the operations that a credential grants on each channel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from ably_ai_transport.local.protocol.frames import MODES, Flag
from ably_ai_transport.local.protocol.parse import json_of, shown, text
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, denied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.protocol.parse import Refusal

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

_MAX_CACHED: Final = 1000
_MAX_TEXT: Final = 65_536

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
            granted = frozenset[str]().union(*matching)
            if len(self._channels) == _MAX_CACHED:
                # One capability serves all users of a key: without a bound, the cache would grow for ever.
                del self._channels[next(iter(self._channels))]
            self._channels[channel] = granted
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


def parse_capability(value: object, *, refusal: Refusal = bad_request) -> Capability:
    """Parse the JSON text of a capability.

    Args:
        value: The text. Anything else is refused, an object of the same content included.
        refusal: Makes the error; 40000 unless given.

    Raises:
        RefusedError: It is not the text of an object of lists of operations.
    """
    content = text(value, "a capability", _MAX_TEXT, refusal=refusal)
    return capability_of(json_of(content, "a capability", refusal=refusal), refusal=refusal)


def capability_of(value: object, *, refusal: Refusal = bad_request) -> Capability:
    """Return the capability of a JSON object of lists of operations.

    Raises:
        RefusedError: It is not one.
    """
    if not isinstance(value, dict):
        raise refusal("a capability must be a JSON object of channel patterns")
    rules: dict[str, list[str]] = {}
    for pattern, operations in cast("dict[object, object]", value).items():
        name = text(pattern, "a channel pattern in a capability", refusal=refusal)
        if not isinstance(operations, list):
            raise refusal(f"the operations of {shown(name)} in a capability must be a list")
        rules[name] = _operations(name, cast("list[object]", operations), refusal)
    return Capability(rules)


def _operations(pattern: str, names: Sequence[object], refusal: Refusal) -> list[str]:
    if not names:
        raise refusal(f"a capability must name an operation for {shown(pattern)}")
    operations = [text(name, f"an operation of {shown(pattern)}", refusal=refusal) for name in names]
    if "*" in operations:
        if len(operations) > 1:
            raise refusal(f"'*' must be the only operation of {shown(pattern)} in a capability")
        return ["*"]
    for name in operations:
        if name not in OPERATIONS:
            raise refusal(f"unknown operation {shown(name)} for {shown(pattern)} in a capability")
    return operations


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
