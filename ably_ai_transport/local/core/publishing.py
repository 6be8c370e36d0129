"""MESSAGE and PRESENCE frames: publish, acknowledge, fan out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.core.channel import Channel, Outcome, Publisher, split_name
from ably_ai_transport.local.protocol.frames import Action, Flag, Frame, MessageAction
from ably_ai_transport.local.protocol.messages import Submission, parse_submission
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, no_mode, not_supported
from ably_ai_transport.local.protocol.serials import random_id
from ably_ai_transport.local.storage.contract import LogEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.core.acks import Result, Slot
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.core.faults import FaultAction
    from ably_ai_transport.local.core.steps import Delivery
    from ably_ai_transport.local.protocol.frames import Value
    from ably_ai_transport.local.storage.contract import StorageError

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
            self._check(connection, submissions)
            if connection.rollup.window_ms and submissions[0].action == _APPEND and len(submissions) == 1:
                name, _ = split_name(label)
                publisher = _publisher(connection, [slot])
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
                connection.identity.capability.check(name, "publish")
                raise no_mode("publish a message", "PUBLISH")
            action = _NAMES[submissions[0].action]
            if not connection.rollup.window_ms or action != "append":
                faults.check_nack(name, action)
            channel = self._channel(name, len(submissions))
            outcome = channel.publish(_publisher(connection, slots), submissions)
        except RefusedError as refusal:
            self._settle(connection, slots, refusal)
            return
        delivery = outcome.delivery
        if delivery is not None:
            self._count(submissions)
        if faults.takes_ack(name, action):
            self._announce(channel, delivery)
            self._swallow(connection, slots, outcome.serials)
        elif self._engine.options.ack_before_echo:
            self._acknowledge(connection, slots, outcome.serials)
            self._announce(channel, delivery)
        else:
            self._announce(channel, delivery)
            self._acknowledge(connection, slots, outcome.serials)

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
                raise no_mode("enter, update or leave presence", "PRESENCE")
            self._engine.faults.check_nack(name, "presence")
            publisher = _publisher(connection, [slot])
            channel = self._channel(name, 1)
            delivery, events = self.enter(channel, publisher, cast("Value", frame.get("presence")))
        except RefusedError as refusal:
            self._settle(connection, [slot], refusal)
            return
        self._announce(channel, delivery)
        serials: list[str | None] = [None] * events
        if self._engine.faults.takes_ack(name, "presence"):
            self._swallow(connection, [slot], serials)
        else:
            self._acknowledge(connection, [slot], serials)

    def unsupported(self, connection: Connection, frame: Frame) -> None:
        """Refuse frames of Ably's that this server does not have."""
        connection.flush()
        slot = self._slot(connection, frame)
        if slot is not None:
            what = "annotations" if frame.get("action") == Action.ANNOTATION else "LiveObjects"
            self._settle(connection, [slot], not_supported(what))

    # Without a websocket

    def rest(self, name: str, identity: Identity, submissions: Sequence[Submission]) -> Outcome:
        """Publish over REST; it is stored when this returns.

        Raises:
            RefusedError: the publish breaks a rule.
        """
        engine = self._engine
        engine.quota.check_size(submissions)
        publisher = Publisher(identity, self._behalf(submissions))
        channel = self._channel(name, len(submissions))
        engine.faults.check_nack(name, _NAMES[submissions[0].action] if submissions else "create")
        outcome = channel.publish(publisher, submissions)
        if outcome.delivery is not None:
            self._count(submissions)
            self._announce(channel, outcome.delivery)
        failure: list[StorageError] = []
        engine.commits.then(lambda error: failure.append(error) if error is not None else None)
        engine.commits.flush()
        if failure:
            raise failure[0]
        return outcome

    def enter(self, channel: Channel, publisher: Publisher, events: Value) -> tuple[Delivery, int]:
        """Take presence events.

        Returns:
            What subscribers get, and how many events there are.

        Raises:
            RefusedError: they break a rule.
        """
        minter = self._engine.minter
        channel_serial = minter.mint()
        taken = channel.presence.apply(publisher, events, minter.ms)
        entry = LogEntry(
            channel_serial,
            minter.ms,
            publisher.frame_id,
            publisher.connection_id,
            presence=taken,
            msg_serials=publisher.msg_serials,
        )
        return channel.announce(entry), len(taken)

    def leave(self, connection_id: str, channel: Channel) -> None:
        """Announce that a connection's presence members are gone from a channel."""
        if not len(channel.presence):
            return
        frame_id = f"leave-{random_id(10)}"
        channel_serial = self._engine.minter.mint()
        events = channel.presence.leave(connection_id, frame_id, self._engine.minter.ms)
        if events:
            entry = LogEntry(channel_serial, self._engine.minter.ms, frame_id, connection_id, presence=events)
            self._announce(channel, channel.announce(entry))

    def _channel(self, name: str, count: int) -> Channel:
        """Return the channel of a publish, if it may have this many more messages now."""
        self._engine.commits.check()
        channel = self._engine.channel(name)
        if channel.rate is not None:
            channel.rate.take(count)
        return channel

    def _check(self, connection: Connection, submissions: Sequence[Submission]) -> None:
        limits = self._engine.options.limits
        # What travels in a small frame cannot be large.
        if connection.frame_size > limits.max_message_size // 2:
            self._engine.quota.check_size(submissions)
        if connection.rate is not None:
            connection.rate.take(len(submissions))

    def _behalf(self, submissions: Sequence[Submission]) -> str | None:
        """Return the connection that a REST client publishes for (Ably specification TM2h)."""
        key = submissions[0].connection_key if submissions else None
        if key is None:
            return None
        connection = self._engine.connection_of(key)
        if connection is None:
            raise bad_request("Malformed message; invalid connectionKey", 40006)
        return connection.id

    def _announce(self, channel: Channel, delivery: Delivery | None) -> None:
        if delivery is not None:
            channel.fan_out(delivery)

    # Acknowledging

    def _slot(self, connection: Connection, frame: Frame) -> Slot | None:
        """Take the place of a frame in the order of ACKs; None when it has been answered before."""
        msg_serial: object = frame.get("msgSerial")
        if not isinstance(msg_serial, int):
            raise bad_request("a publish must carry a msgSerial")
        acks = connection.acks
        known = acks.known(msg_serial)
        if known is None and not acks.is_next(msg_serial):
            # Sent twice on one transport, and the first may just not be stored yet.
            self._engine.commits.flush()
            known = acks.known(msg_serial)
        if known is not None:
            acks.complete(acks.open(msg_serial), known)
            acks.flush()
            return None
        if not connection.rollup.is_idle and acks.is_pending(msg_serial):
            return None
        return acks.open(msg_serial)

    def _acknowledge(self, connection: Connection, slots: Sequence[Slot], serials: list[str | None]) -> None:
        """Settle publishes once they are stored."""
        self._engine.commits.then(lambda error: self._settle(connection, slots, error or serials))

    def _swallow(self, connection: Connection, slots: Sequence[Slot], serials: list[str | None]) -> None:
        """Cut the connection instead: the outcome is kept for when the publish is sent again."""

        def cut(error: StorageError | None) -> None:
            self._keep(connection, slots, error or serials)
            connection.cut()

        self._engine.commits.then(cut)

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


def _publisher(connection: Connection, slots: Sequence[Slot]) -> Publisher:
    serials = tuple(slot.msg_serial for slot in slots)
    return Publisher(connection.identity, connection.id, f"{connection.id}:{serials[-1]}", serials)


def _submissions(frame: Frame) -> list[Submission]:
    messages: object = frame.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("a MESSAGE frame must carry messages")
    return [parse_submission(message) for message in cast("list[Value]", messages)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
