"""Channel names and attach params, as a client spells them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from ably_ai_transport.local.protocol.frames import DEFAULT_MODES, MODES, Flag
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUALIFIED: Final = re.compile(r"\[(?P<kind>[^\]?]*)(?:\?(?P<params>[^\]]*))?\](?P<name>.*)", re.DOTALL)
_REWIND: Final = re.compile(r"(\d+)([sm])?")
_MODE_NAMES: Final = {
    "presence": Flag.PRESENCE,
    "publish": Flag.PUBLISH,
    "subscribe": Flag.SUBSCRIBE,
    "presence_subscribe": Flag.PRESENCE_SUBSCRIBE,
    "annotation_publish": Flag.ANNOTATION_PUBLISH,
    "annotation_subscribe": Flag.ANNOTATION_SUBSCRIBE,
    "object_subscribe": Flag.OBJECT_SUBSCRIBE,
    "object_publish": Flag.OBJECT_PUBLISH,
}

KNOWN_PARAMS: Final = frozenset({"rewind", "rewindLimit", "modes", "appendMode", "delta", "occupancy"})
"""The params that ATTACHED echoes."""

RewindUnit: TypeAlias = Literal["messages", "seconds", "minutes"]
_UNITS: Final[dict[str, RewindUnit]] = {"": "messages", "s": "seconds", "m": "minutes"}


class Rewind(NamedTuple):
    """The rewind of an ATTACH: a number of messages, seconds or minutes."""

    amount: int
    unit: RewindUnit


def split_name(label: str) -> tuple[str, dict[str, str]]:
    """Split a channel name as a client spells it into the name and the params of its qualifier.

    Raises:
        RefusedError: 40010, the name is invalid.
    """
    params: dict[str, str] = {}
    name = label
    if label.startswith("["):
        match = _QUALIFIED.fullmatch(label)
        if match is None or match["kind"]:
            raise RefusedError(40010, 400, f"unsupported channel qualifier: {label!r}")
        name = match["name"]
        params = dict(parse_qsl(match["params"] or ""))
    if not name or name.startswith(":") or "\n" in name:
        raise RefusedError(40010, 400, f"invalid channel name: {label!r}")
    return name, params


def modes_of(flags: int, params: Mapping[str, str]) -> Flag:
    """Return the modes that an ATTACH requests; params outweigh flags.

    Raises:
        RefusedError: 40000, a mode is unknown.
    """
    text = params.get("modes")
    if not text:
        return Flag(flags & MODES) or DEFAULT_MODES
    requested = Flag(0)
    for name in text.split(","):
        mode = _MODE_NAMES.get(name.strip().lower())
        if mode is None:
            raise bad_request(f"unknown channel mode {name!r}")
        requested |= mode
    return requested


def rewind_of(params: Mapping[str, str]) -> Rewind | None:
    """Return the rewind that an ATTACH requests, if any.

    Raises:
        RefusedError: 40003, it is neither a number nor a number of seconds or minutes.
    """
    text = params.get("rewind")
    if not text:
        return None
    match = _REWIND.fullmatch(text)
    if match is None:
        raise bad_request(f"invalid rewind: {text!r}", 40003)
    return Rewind(int(match[1]), _UNITS[match[2] or ""])
