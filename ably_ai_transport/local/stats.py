"""Counters of a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Stats:
    """Counters since the server was created.

    Attributes:
        frames_in: Frames read from websockets.
        frames_out: Frames written to websockets.
        bytes_in: Payload bytes of the frames read.
        bytes_out: Payload bytes of the frames written.
        messages: Messages created.
        appends: Appends published (after roll-up).
        updates: Updates and deletes published.
        requests: HTTP requests.
        connections: Websockets open now.
        connections_opened: Websockets accepted so far.
        channels: Channels in existence.
        refusals: Publishes and HTTP requests refused, by Ably's error code.
    """

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    messages: int = 0
    appends: int = 0
    updates: int = 0
    requests: int = 0
    connections: int = 0
    connections_opened: int = 0
    channels: int = 0
    refusals: dict[int, int] = field(default_factory=dict[int, int])

    def refuse(self, code: int, count: int = 1) -> None:
        """Count refused publishes or requests."""
        self.refusals[code] = self.refusals.get(code, 0) + count

    def snapshot(self) -> dict[str, int]:
        """Return the counters as they are now, `refusals` as their sum."""
        return {**asdict(self), "refusals": sum(self.refusals.values())}
