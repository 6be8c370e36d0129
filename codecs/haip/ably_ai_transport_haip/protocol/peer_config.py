"""Configuration of a peer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ably_ai_transport_haip.protocol.binary import MAX_BINARY
from ably_ai_transport_haip.protocol.credits import FlowControlConfig
from ably_ai_transport_haip.protocol.sequence import KEEP_BYTES, MAX_HELD_BYTES


@dataclass(frozen=True)
class PeerConfig:
    """Configuration of a peer.

    Attributes:
        role: The role of this side.
        clock: Returns the current time: seconds since 1970.
        flow_control: The configuration of the credits of this side.
        receive_credits: The message credits per channel that the other side starts with.
        receive_credit_bytes: The byte credits per channel that the other side starts with.
        max_concurrent_runs: The largest number of open runs.
        binary_frames: Whether this side accepts binary frames.
        refills_on_read: Whether credits are granted when :meth:`HaipPeer.note_read` is called. Otherwise they
            are granted when messages arrive.
        replay_bytes: The bytes of sent frames to keep for replays.
        held_bytes: The largest number of bytes in messages that wait for a missing one.
        binary_bytes: The largest binary body to accept, in bytes.
    """

    role: Literal["client", "server"]
    clock: Callable[[], float]
    flow_control: FlowControlConfig = field(default_factory=FlowControlConfig)
    receive_credits: int = 1000
    receive_credit_bytes: int = 16 * 1024 * 1024
    max_concurrent_runs: int = 5
    binary_frames: bool = True
    refills_on_read: bool = False
    replay_bytes: int = KEEP_BYTES
    held_bytes: int = MAX_HELD_BYTES
    binary_bytes: int = MAX_BINARY
