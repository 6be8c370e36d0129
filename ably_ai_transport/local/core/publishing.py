"""Publishing: MESSAGE and PRESENCE frames and REST publishes, from the limits to the ack."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.core import rates
from ably_ai_transport.local.core.rollup import Rollup
from ably_ai_transport.local.core.steps import Publisher
from ably_ai_transport.local.protocol.channels import split_name
from ably_ai_transport.local.protocol.frames import Action, Flag, Frame, MessageAction
from ably_ai_transport.local.protocol.messages import Submission, parse_submission
from ably_ai_transport.local.protocol.presence import parse_presence
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, no_mode, not_supported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.acks import Result, Slot
    from ably_ai_transport.local.core.attachments import Attachments
    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.channels import Channels
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.fault_rules import FaultAction, FaultRules, Rule
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.core.rates import RollingRate
    from ably_ai_transport.local.core.steps import Delivery, Outcome
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.frames import Value
    from ably_ai_transport.local.stats import Stats
    from ably_ai_transport.local.storage.contract import StorageError

logger = logging.getLogger("ably_ai_transport.local")

_APPEND: Final = int(MessageAction.APPEND)
_CREATE: Final = int(MessageAction.CREATE)
_MAX_MSG_SERIAL: Final = 2**53
_MOST_GROWTH: Final = 8
_NAMES: Final[dict[int, FaultAction]] = {0: "create", 1: "update", 2: "delete", 5: "append"}


class Publishing:
    """Publishes messages and presence, over websockets and over REST."""

    def __init__(
        self,
        channels: Channels,
        attachments: Attachments,
        commits: Commits,
        quota: Quota,
        rules: FaultRules,
        *,
        options: LocalServerOptions,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._channels = channels
        self._attachments = attachments
        self._commits = commits
        self._quota = quota
        self._rules = rules
        self._ack_before_echo = options.ack_before_echo
        # A small frame cannot hold a message that is too large, even where msgpack becomes JSON.
        self._small_frame = options.limits.max_message_size // _MOST_GROWTH
        self._stats = stats
        self._rollup = Rollup(clock, self._publish_append)

    # Over a websocket

    def message(self, connection: Connection, frame: Frame) -> None:
        """Answer a MESSAGE frame with its ACK or NACK and deliver to subscribers."""
        slot = self._slot(connection, frame)
        if slot is None:
            return
        label = _text(frame.get("channel"))
        name = ""
        try:
            submissions = _submissions(frame)
            if connection.frame_size > self._small_frame:
                self._quota.check_size(submissions)
            if connection.rollup_ms and submissions[0].action == _APPEND and len(submissions) == 1:
                name, _ = split_name(label)
                self._rules.check_nack(name, "append")
                channel = self._channels.open(name)
                channel.target(_publisher(connection, [slot]), submissions[0])
                self._check_rates(connection, channel, submissions)
                self._rollup.offer(connection, label, submissions[0], slot)
                return
        except RefusedError as refusal:
            self._channels.discard(name)
            self._refuse(connection, label, [slot], refusal)
            return
        if connection.rollup_ms:
            self._rollup.flush(connection)
        self._publish(connection, label, submissions, [slot])

    def presence(self, connection: Connection, frame: Frame) -> None:
        """Answer a PRESENCE frame with its ACK or NACK and deliver to subscribers."""
        self._rollup.flush(connection)
        slot = self._slot(connection, frame)
        if slot is None:
            return
        label = _text(frame.get("channel"))
        name = ""
        try:
            name, _ = split_name(label)
            connection.identity.capability.check(name, "presence")
            if not self._attachments.allow(connection, label, Flag.PRESENCE):
                raise no_mode("enter, update or leave presence", "PRESENCE")
            self._rules.check_nack(name, "presence")
            submissions = parse_presence(cast("Value", frame.get("presence")))
            if connection.frame_size > self._small_frame:
                self._quota.check_size(submissions)
            channel = self._channels.open(name)
            rates.take(_rates_of(channel, connection), len(submissions))
            delivery = channel.enter(_publisher(connection, [slot]), submissions)
            if channel.presence.holds(connection.id):
                connection.entered[name] = None
            else:
                connection.entered.pop(name, None)
                self._commits.undo(lambda: connection.entered.setdefault(name))
        except RefusedError as refusal:
            self._channels.discard(name)
            self._refuse(connection, label, [slot], refusal)
            return
        self._attachments.fan_out(channel, delivery)
        serials: list[str | None] = [None] * len(submissions)
        cut = self._rules.cut_instead_of_ack(name, "presence")
        if cut is not None:
            self._swallow(connection, [slot], serials, cut)
        else:
            self._ack(connection, [slot], serials)

    def unsupported(self, connection: Connection, frame: Frame) -> None:
        """Refuse an ANNOTATION or OBJECT frame."""
        slot = self._slot(connection, frame)
        if slot is not None:
            what = "annotations" if frame.get("action") == Action.ANNOTATION else "LiveObjects"
            self._refuse(connection, _text(frame.get("channel")), [slot], not_supported(what))

    def flush(self, connection: Connection) -> None:
        """Publish the appends that wait for roll-up, to keep the order with the connection's next frame."""
        self._rollup.flush(connection)

    def _publish_append(
        self, connection: Connection, label: str, submission: Submission, slots: list[Slot]
    ) -> None:
        self._publish(connection, label, [submission], slots)

    def _publish(
        self, connection: Connection, label: str, submissions: Sequence[Submission], slots: Sequence[Slot]
    ) -> None:
        """Publish one frame, or several that were rolled up into one append."""
        rules = self._rules
        name = ""
        try:
            name, _ = split_name(label)
            if not self._attachments.allow(connection, label, Flag.PUBLISH):
                connection.identity.capability.check(name, "publish")
                raise no_mode("publish a message", "PUBLISH")
            action = _NAMES[submissions[0].action]
            self._permit(connection.identity, name, action)
            channel = self._channels.open(name)
            if not connection.rollup_ms or action != "append":
                rules.check_nack(name, action)
                self._check_rates(connection, channel, submissions)
            outcome = channel.publish(_publisher(connection, slots), submissions)
        except RefusedError as refusal:
            self._channels.discard(name)
            self._refuse(connection, label, slots, refusal)
            return
        delivery = outcome.delivery
        if delivery is not None:
            self._count(submissions)
        if logger.isEnabledFor(logging.DEBUG):
            _log_publish(name, action, outcome, connection.id)
        cut = rules.cut_instead_of_ack(name, action)
        if cut is not None:
            self._fan_out(channel, delivery)
            self._swallow(connection, slots, outcome.serials, cut)
        elif self._ack_before_echo:
            self._ack(connection, slots, outcome.serials)
            self._fan_out(channel, delivery)
        else:
            self._fan_out(channel, delivery)
            self._ack(connection, slots, outcome.serials)

    # Without a websocket

    def rest(self, name: str, publisher: Publisher, submissions: Sequence[Submission]) -> Outcome:
        """Publish over REST; the messages are stored when this returns.

        Raises:
            RefusedError: The publish breaks a rule.
        """
        action = _NAMES[submissions[0].action] if submissions else "create"
        self._permit(publisher.identity, name, action)
        self._rules.check_nack(name, action)
        channel = self._channels.open(name)
        try:
            rates.take(_rates_of(channel), len(submissions))
            outcome = channel.publish(publisher, submissions)
        except RefusedError:
            self._channels.discard(name)
            raise
        if outcome.delivery is not None:
            self._count(submissions)
            self._attachments.fan_out(channel, outcome.delivery)
        failure: list[StorageError] = []
        self._commits.then(lambda error: failure.append(error) if error is not None else None)
        self._commits.flush()
        if failure:
            raise failure[0]
        if logger.isEnabledFor(logging.DEBUG):
            _log_publish(name, action, outcome, None)
        return outcome

    def _permit(self, identity: Identity, name: str, action: FaultAction) -> None:
        """Check that a publish may reach a channel.

        Raises:
            RefusedError: 40160, the capability does not cover it.
        """
        if action == "create":
            identity.capability.check(name, "publish")

    def _check_rates(
        self, connection: Connection, channel: Channel, submissions: Sequence[Submission]
    ) -> None:
        """Count a publish against the rates of its connection and its channel.

        Raises:
            RefusedError: 42911 or 42913, it comes too soon.
        """
        limits = _rates_of(channel, connection)
        if not limits:
            return
        target = submissions[0].serial
        if submissions[0].action != _APPEND or target is None:
            rates.take(limits, len(submissions))
            return
        windows, key, width = connection.append_windows, (channel.name, target), connection.counted_ms
        if not windows.is_counted(key, width):
            rates.take(limits, 1)
            windows.add(key, width)

    def _fan_out(self, channel: Channel, delivery: Delivery | None) -> None:
        if delivery is not None:
            self._attachments.fan_out(channel, delivery)

    # Acks

    def _slot(self, connection: Connection, frame: Frame) -> Slot | None:
        """Open the slot of a frame in the order of acks; None when the frame was answered before."""
        msg_serial: object = frame.get("msgSerial")
        if not isinstance(msg_serial, int) or not 0 <= msg_serial <= _MAX_MSG_SERIAL:
            raise bad_request("a publish must carry a msgSerial, a number from 0 on")
        acks = connection.acks
        known = acks.known(msg_serial)
        if known is None and not acks.is_next(msg_serial):
            # Sent twice on one transport; the first may not be stored yet.
            self._commits.flush()
            known = acks.known(msg_serial)
        if known is not None:
            acks.complete(acks.open(msg_serial), known)
            acks.flush()
            return None
        if connection.rollup_ms and self._rollup.holds(connection) and acks.is_pending(msg_serial):
            return None
        return acks.open(msg_serial)

    def _ack(self, connection: Connection, slots: Sequence[Slot], serials: list[str | None]) -> None:
        """Ack publishes once they are stored."""
        self._commits.then(lambda error: self._settle(connection, slots, error or serials))

    def _refuse(
        self, connection: Connection, label: str, slots: Sequence[Slot], refusal: RefusedError
    ) -> None:
        self._stats.refuse(refusal.code, len(slots))
        logger.debug(
            "publish refused: %s",
            refusal.message,
            extra={"session": label, "connection": connection.id, "code": refusal.code},
        )
        self._settle(connection, slots, refusal)

    def _swallow(
        self, connection: Connection, slots: Sequence[Slot], serials: list[str | None], rule: Rule
    ) -> None:
        """Cut the websocket instead of sending the ack; a retry of the publish gets the result."""

        def cut(error: StorageError | None) -> None:
            _keep(connection, slots, error or serials)
            if rule.on_cut is not None:
                rule.on_cut(connection)
            if connection.transport is not None:
                connection.transport.abort()

        self._commits.then(cut)

    def _settle(self, connection: Connection, slots: Sequence[Slot], result: Result) -> None:
        _keep(connection, slots, result)
        connection.acks.flush()

    def _count(self, submissions: Sequence[Submission]) -> None:
        stats = self._stats
        action = submissions[0].action
        if action == _APPEND:
            stats.appends += 1
        elif action == _CREATE:
            stats.messages += len(submissions)
        else:
            stats.updates += 1


def _keep(connection: Connection, slots: Sequence[Slot], result: Result) -> None:
    last = slots[-1]
    for slot in slots:
        # Rolled up appends share one version: the last one gets its serial, the others get none.
        superseded = slot is not last and isinstance(result, list)
        connection.acks.complete(slot, [None] if superseded else result)


def _rates_of(channel: Channel, connection: Connection | None = None) -> list[RollingRate]:
    """Return the limits that a publish counts against."""
    limits = (channel.rate, None if connection is None else connection.rate)
    return [limit for limit in limits if limit is not None]


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


def _log_publish(channel: str, action: str, outcome: Outcome, connection_id: str | None) -> None:
    logger.debug(
        "published (%s%s)",
        action,
        "" if outcome.delivery is not None else ", repeated",
        extra={"session": channel, "serial": outcome.serials[0], "connection": connection_id},
    )
