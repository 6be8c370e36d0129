"""Two peers of a session and the wire between them, which can be cut."""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from ably_ai_transport_haip.protocol import (
    FlowControlConfig,
    Frame,
    HaipChannel,
    HaipEnvelope,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    PeerConfig,
    PeerEvent,
    Received,
    new_id,
)

SHARED: Final = Path(os.environ.get("AIT_SHARED") or Path(__file__).parents[3] / "shared")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


class Side:
    """A peer and its events."""

    def __init__(self, peer: HaipPeer) -> None:
        self.peer = peer
        self.events: list[PeerEvent] = []

    @property
    def received(self) -> list[HaipMessage]:
        """The received messages, without handshakes."""
        return [event.message for event in self.events if isinstance(event, Received)]

    @property
    def said(self) -> list[object]:
        """The received text parts."""
        return [m.payload["text"] for m in self.received if m.type is HaipEventType.MESSAGE_PART]

    def happened(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Wire:
    """A client and a server, and the frames between them."""

    def __init__(
        self,
        client_flow: FlowControlConfig | None = None,
        server_flow: FlowControlConfig | None = None,
        *,
        credits_: int = 1000,
        credit_bytes: int = 16 * 1024 * 1024,
        check: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.clock = Clock()
        self.client = Side(HaipPeer(PeerConfig("client", self.clock, client_flow or FlowControlConfig())))
        self.server = Side(
            HaipPeer(
                PeerConfig(
                    "server",
                    self.clock,
                    server_flow or FlowControlConfig(),
                    receive_credits=credits_,
                    receive_credit_bytes=credit_bytes,
                ),
                self.client.peer.session_id,
            )
        )
        self.up: list[Frame] = []
        self.down: list[Frame] = []
        self._check = check

    def connect(self) -> None:
        self.client.peer.greet()
        self.flow()

    def flow(self) -> None:
        """Deliver all frames."""
        while self._collect():
            for frames, to in ((self.up, self.server), (self.down, self.client)):
                while frames:
                    self.deliver(frames.pop(0), to)

    def cut(self, up: int = 0, down: int = 0) -> None:
        """Cut the connection after some of the frames under way have arrived."""
        self._collect()
        for frame in self.up[:up]:
            self.deliver(frame, self.server)
        for frame in self.down[:down]:
            self.deliver(frame, self.client)
        self._collect()
        self.up.clear()
        self.down.clear()
        self.client.peer.reconnect()
        self.server.peer.reconnect()

    def deliver(self, frame: Frame, to: Side) -> None:
        if frame.text is not None:
            to.events += to.peer.receive_text(frame.text)
        if frame.binary is not None:
            to.events += to.peer.receive_binary(frame.binary)

    def _collect(self) -> bool:
        for side, frames in ((self.client, self.up), (self.server, self.down)):
            for frame in side.peer.take_outgoing():
                if self._check is not None and frame.text is not None:
                    self._check(json.loads(frame.text))
                frames.append(frame)
        return bool(self.up or self.down)


def part(text: str, channel: str = HaipChannel.USER, message_id: str | None = None) -> HaipMessage:
    return HaipMessage(
        HaipEventType.MESSAGE_PART,
        {"message_id": message_id or new_id(), "text": text},
        HaipEnvelope(channel=channel),
    )


@cache
def schema_check() -> Callable[[dict[str, Any]], None] | None:
    """Return a check against the published schema; None if the schema is not available."""
    path = SHARED / "haip" / "haip-1.1.2.schema.json"
    if not path.exists():
        return None
    from jsonschema import Draft7Validator

    validator: Any = Draft7Validator(json.loads(path.read_text(encoding="utf-8")))
    return cast("Callable[[dict[str, Any]], None]", validator.validate)
