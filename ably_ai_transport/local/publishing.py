"""MESSAGE and PRESENCE frames: publish, acknowledge, fan out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.channel import Channel, Outcome, Publisher, split_name
from ably_ai_transport.local.messages import Submission, parse_submission
from ably_ai_transport.local.protocol import Action, Flag, Frame, MessageAction
from ably_ai_transport.local.refusals import RefusedError, bad_request, denied, not_supported
from ably_ai_transport.local.serials import random_id
from ably_ai_transport.local.storage import LogEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.acks import Result, Slot
    from ably_ai_transport.local.auth import Identity
    from ably_ai_transport.local.connection import Connection
    from ably_ai_transport.local.engine import Engine
    from ably_ai_transport.local.faults import FaultAction
    from ably_ai_transport.local.protocol import Value

_APPEND: Final = int(MessageAction.APPEND)
_CREATE: Final = int(MessageAction.CREATE)
_NAMES: Final[dict[int, FaultAction]] = {0: "create", 1: "update", 2: "delete", 5: "append"}


class Publishing:
    """Takes what clients publish, over websockets and over REST."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Over a websocket

    def message(self, connection: Connection, frame: Frame) -> None:
        """Answer a MESSAGE frame with its ACK or NACK and tell subscribers."""
        slot = self._slot(connection, frame)
        if slot is None:
            return
        label = _text(frame.get("channel"))
        try:
            submissions = _submissions(frame)
            if connection.rollup.window_ms and submissions[0].action == _APPEND and len(submissions) == 1:
                name, _ = split_name(label)
                publisher = _publisher(connection, slot)
                self._engine.faults.check_nack(name, "append")
                self._engine.channel(name).target(publisher, submissions[0])
                connection.rollup.offer(label, submissions[0], slot)
                return
        except RefusedError as refusal:
            self._settle(connection, [slot], refusal)
            return
        connection.flush()
        self.publish(connection, label, submissions, [slot])

    def publish(
        self, connection: Connection, label: str, submissions: Sequence[Submission], slots: Sequence[Slot]
    ) -> None:
        """Publish for one frame, or for several that have been rolled up into one append."""
        faults = self._engine.faults
        try:
            name, _ = split_name(label)
            if not connection.may(label, Flag.PUBLISH):
                raise denied(name, "publish mode")
            action = _NAMES[submissions[0].action]
            if not connection.rollup.window_ms or action != "append":
                faults.check_nack(name, action)
            channel = self._engine.channel(name)
            outcome = channel.publish(_publisher(connection, slots[-1]), submissions)
        except RefusedError as refusal:
            self._settle(connection, slots, refusal)
            return
        delivery = outcome.delivery
        if delivery is not None:
            self._count(submissions)
        if faults.takes_ack(name, action):
            # The client must not learn the outcome: it is kept for when the publish is sent again.
            if delivery is not None:
                channel.fan_out(delivery)
            self._keep(connection, slots, outcome.serials)
            connection.cut()
        elif self._engine.options.ack_before_echo:
            self._settle(connection, slots, outcome.serials)
            if delivery is not None:
                channel.fan_out(delivery)
        else:
            if delivery is not None:
                channel.fan_out(delivery)
            self._settle(connection, slots, outcome.serials)

    def presence(self, connection: Connection, frame: Frame) -> None:
        """Answer a PRESENCE frame with its ACK or NACK and tell subscribers."""
        connection.flush()
        slot = self._slot(connection, frame)
        if slot is None:
            return
        label = _text(frame.get("channel"))
        try:
            name, _ = split_name(label)
            connection.identity.capability.check(name, "presence")
            if not connection.may(label, Flag.PRESENCE):
                raise denied(name, "presence mode")
            self._engine.faults.check_nack(name, "presence")
            channel = self._engine.channel(name)
            publisher = _publisher(connection, slot)
            channel_serial = self._engine.minter.mint()
            timestamp = self._engine.minter.ms
            events = channel.presence.apply(publisher, cast("Value", frame.get("presence")), timestamp)
        except RefusedError as refusal:
            self._settle(connection, [slot], refusal)
            return
        entry = LogEntry(channel_serial, timestamp, publisher.frame_id, connection.id, presence=events)
        channel.fan_out(channel.announce(entry))
        serials: list[str | None] = [None] * len(events)
        if self._engine.faults.takes_ack(name, "presence"):
            self._keep(connection, [slot], serials)
            connection.cut()
        else:
            self._settle(connection, [slot], serials)

    def unsupported(self, connection: Connection, frame: Frame) -> None:
        """Refuse frames of Ably's that this server does not have."""
        connection.flush()
        slot = self._slot(connection, frame)
        if slot is not None:
            what = "annotations" if frame.get("action") == Action.ANNOTATION else "LiveObjects"
            self._settle(connection, [slot], not_supported(what))

    # Over REST

    def rest(self, name: str, identity: Identity, submissions: Sequence[Submission]) -> Outcome:
        """Publish without a connection.

        Raises:
            RefusedError: the publish breaks a rule.
        """
        channel = self._engine.channel(name)
        self._engine.faults.check_nack(name, _NAMES[submissions[0].action] if submissions else "create")
        outcome = channel.publish(Publisher(identity), submissions)
        if outcome.delivery is not None:
            self._count(submissions)
            channel.fan_out(outcome.delivery)
        return outcome

    # Presence of connections that go

    def leave(self, connection: Connection, channel: Channel) -> None:
        """Announce that a connection's presence members are gone from a channel."""
        if not len(channel.presence):
            return
        frame_id = f"leave-{random_id(10)}"
        channel_serial = self._engine.minter.mint()
        events = channel.presence.leave(connection.id, frame_id, self._engine.minter.ms)
        if events:
            entry = LogEntry(channel_serial, self._engine.minter.ms, frame_id, connection.id, presence=events)
            channel.fan_out(channel.announce(entry))

    # Acknowledging

    def _slot(self, connection: Connection, frame: Frame) -> Slot | None:
        """Take the place of a frame in the order of ACKs; None when it has been answered before."""
        msg_serial: object = frame.get("msgSerial")
        if not isinstance(msg_serial, int):
            raise bad_request("a publish must carry a msgSerial")
        acks = connection.acks
        known = acks.known(msg_serial)
        if known is not None:
            acks.complete(acks.open(msg_serial), known)
            acks.flush()
            return None
        if not connection.rollup.is_idle and acks.is_pending(msg_serial):
            return None
        return acks.open(msg_serial)

    def _keep(self, connection: Connection, slots: Sequence[Slot], result: Result) -> None:
        last = slots[-1]
        for slot in slots:
            # Rolled up appends share one version: it is the last one's, the others get none.
            superseded = slot is not last and isinstance(result, list)
            connection.acks.complete(slot, [None] if superseded else result)

    def _settle(self, connection: Connection, slots: Sequence[Slot], result: Result) -> None:
        self._keep(connection, slots, result)
        connection.acks.flush()

    def _count(self, submissions: Sequence[Submission]) -> None:
        stats = self._engine.stats
        action = submissions[0].action
        if action == _APPEND:
            stats.appends += 1
        elif action == _CREATE:
            stats.messages += len(submissions)
        else:
            stats.updates += 1


def _publisher(connection: Connection, slot: Slot) -> Publisher:
    return Publisher(connection.identity, connection.id, f"{connection.id}:{slot.msg_serial}")


def _submissions(frame: Frame) -> list[Submission]:
    messages: object = frame.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("a MESSAGE frame must carry messages")
    return [parse_submission(message) for message in cast("list[Value]", messages)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
