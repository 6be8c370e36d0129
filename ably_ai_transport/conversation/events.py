"""The changes that a tree tells of."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, cast

from ably_ai_transport.codec.contract import InT_co, OutT_co
from ably_ai_transport.wire import Headers, InboundMessage, RunLifecycleEvent, names


@dataclass(frozen=True, slots=True)
class TreeUpdated:
    """Nodes came, went, or changed places."""


@dataclass(slots=True)
class OutputFolded(Generic[InT_co, OutT_co]):
    """A node's content changed.

    Attributes:
        run_id: The run whose content changed; None where it was an input.
        input_codec_message_id: The input behind it.
        codec_message_id: The message that the events belong to.
        serial: Serial of the message that brought them, or whose payload is complete now; None for an
            optimistic one, and where a node was rebuilt because an attempt of a step was superseded.
        events: The outputs; empty where only the projection was rebuilt.
        inputs: The inputs.
        step_id: The step that published them.
        step_start_serial: The attempt that published them.
        steer_codec_message_ids: The steering messages that they respond to.
    """

    run_id: str | None
    input_codec_message_id: str | None = None
    codec_message_id: str | None = None
    serial: str | None = None
    events: Sequence[OutT_co] = ()
    inputs: Sequence[InT_co] = ()
    step_id: str | None = None
    step_start_serial: str | None = None
    steer_codec_message_ids: tuple[str, ...] | None = None

    @property
    def node_key(self) -> str | None:
        """Key of the node whose content changed."""
        return self.run_id if self.run_id is not None else self.input_codec_message_id


TreeEvent: TypeAlias = TreeUpdated | OutputFolded[InT_co, OutT_co] | RunLifecycleEvent | InboundMessage
"""A raw message comes last, after the changes that it made."""


def read_steer_stamp(headers: Headers) -> tuple[str, ...] | None:
    """Read which steering messages an output responds to.

    Args:
        headers: Transport headers of the output.

    Returns:
        Their message ids; None where the header is absent, empty or malformed.
    """
    stamp = headers.get(names.STEER_CODEC_MESSAGE_IDS)
    if stamp is None:
        return None
    try:
        parsed: object = json.loads(stamp)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, list):
        return None
    ids = tuple(item for item in cast("list[object]", parsed) if isinstance(item, str))
    return ids or None
