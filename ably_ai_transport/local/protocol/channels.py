"""Channel names and attach params, as a client spells them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from ably_ai_transport.local.protocol.frames import DEFAULT_MODES, MODES, Flag
from ably_ai_transport.local.protocol.parse import integer, integer_of, is_unicode, shown, text
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_parameter, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUALIFIED: Final = re.compile(r"\[(?P<kind>[^\]?]*)(?:\?(?P<params>[^\]]*))?\](?P<name>.*)", re.DOTALL)
_REWIND: Final = re.compile(r"([0-9]+)([sm])?")
_MAX_NAME: Final = 2048
_MAX_REWIND: Final = 1_000_000_000
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

_KNOWN_PARAMS: Final = frozenset({"rewind", "rewindLimit", "modes", "appendMode", "occupancy", "delta"})

_METRICS: Final = (
    "connections",
    "publishers",
    "subscribers",
    "presenceConnections",
    "presenceMembers",
    "presenceSubscribers",
    "objectPublishers",
    "objectSubscribers",
)

RewindUnit: TypeAlias = Literal["messages", "seconds", "minutes"]
_UNITS: Final[dict[str, RewindUnit]] = {"": "messages", "s": "seconds", "m": "minutes"}


class Rewind(NamedTuple):
    """The rewind of an ATTACH: a number of messages, seconds or minutes, and the most messages of a time."""

    amount: int
    unit: RewindUnit
    limit: int | None


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
            raise RefusedError(40010, 400, f"unsupported channel qualifier: {shown(label)}")
        name = match["name"]
        params = dict(parse_qsl(match["params"] or ""))
    if not name or name.startswith(":") or "\n" in name or len(name) > _MAX_NAME or not is_unicode(label):
        raise RefusedError(40010, 400, f"invalid channel name: {shown(label)}")
    return name, params


def attach_params(value: Mapping[str, object]) -> dict[str, str]:
    """Return the params of an ATTACH; some SDKs write numbers as numbers.

    Raises:
        RefusedError: 40000, one is neither text nor a number.
    """
    return {
        name: str(integer(param, f"the param {shown(name)}", 0))
        if isinstance(param, (int, float))
        else text(param, f"the param {shown(name)}")
        for name, param in value.items()
    }


def effective_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return the params that take effect: ATTACHED echoes them, and no others."""
    return {
        name: value
        for name, value in params.items()
        if name in _KNOWN_PARAMS and (name != "delta" or wants_deltas(params))
    }


def wants_deltas(params: Mapping[str, str]) -> bool:
    """Tell whether an ATTACH asks for deltas; VCDIFF is the only kind (Ably docs: deltas)."""
    return params.get("delta") == "vcdiff"


def modes_of(flags: int, params: Mapping[str, str]) -> Flag:
    """Return the modes that an ATTACH requests; params outweigh flags.

    Raises:
        RefusedError: 40000, a mode is unknown.
    """
    names = params.get("modes")
    if not names:
        return Flag(flags & MODES) or DEFAULT_MODES
    requested = Flag(0)
    for name in names.split(","):
        mode = _MODE_NAMES.get(name.strip().lower())
        if mode is None:
            raise bad_request(f"unknown channel mode {shown(name)}")
        requested |= mode
    return requested


def occupancy_of(params: Mapping[str, str]) -> tuple[str, ...]:
    """Return the occupancy metrics that an ATTACH asks for (Ably docs: channel options, occupancy).

    Raises:
        RefusedError: 40000, it is neither `metrics` nor `metrics.<category>`.
    """
    asked = params.get("occupancy")
    if not asked:
        return ()
    if asked == "metrics":
        return _METRICS
    prefix, _, metric = asked.partition(".")
    if prefix != "metrics" or metric not in _METRICS:
        raise bad_request(f"occupancy must be metrics or metrics.<category>, not {shown(asked)}")
    return (metric,)


def rewind_of(params: Mapping[str, str]) -> Rewind | None:
    """Return the rewind that an ATTACH requests, if any.

    Raises:
        RefusedError: 40003, it is neither a number nor a number of seconds or minutes.
    """
    amount = params.get("rewind")
    if not amount:
        return None
    match = _REWIND.fullmatch(amount)
    if match is None:
        raise bad_parameter(f"rewind must be a number of messages, seconds or minutes, not {shown(amount)}")
    limit = params.get("rewindLimit")
    return Rewind(
        integer_of(match[1], "rewind", 0, _MAX_REWIND, refusal=bad_parameter),
        _UNITS[match[2] or ""],
        None if limit is None else integer_of(limit, "rewindLimit", 1, refusal=bad_parameter),
    )
