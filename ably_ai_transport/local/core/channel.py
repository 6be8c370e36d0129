"""Channels: the order of publishes, the members present, and the steps that subscribers get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ably_ai_transport.local.core.idempotency import KnownPublishes, given_ids
from ably_ai_transport.local.core.presence import PresenceSet
from ably_ai_transport.local.core.rates import channel_rate
from ably_ai_transport.local.core.steps import Delivery, Outcome
from ably_ai_transport.local.protocol.frames import MessageAction, WireVersion
from ably_ai_transport.local.protocol.messages import StoredMessage, Submission
from ably_ai_transport.local.protocol.refusals import (
    bad_request,
    not_mutable,
    too_many_channels,
    unknown_serial,
)
from ably_ai_transport.local.protocol.serials import MAX_BATCH, message_serial, random_id
from ably_ai_transport.local.storage.contract import LogEntry, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.core.rates import RollingRate
    from ably_ai_transport.local.core.steps import Publisher
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.frames import Value, WirePresence
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.stats import Stats
    from ably_ai_transport.local.storage.contract import ChannelStorage, Storage
    from ably_ai_transport.local.storage.sweep import Sweep


class Channel:
    """One channel. Its methods are synchronous: each is one step for all subscribers.

    Attributes:
        name: The name, without a qualifier.
        storage: Its messages and its log.
        presence: The members present.
        head: The serial of the latest step.
        origin: A serial before all steps; clients may resume from there.
        rate: The limit of publishes, if there is one.
    """

    def __init__(
        self,
        name: str,
        storage: ChannelStorage,
        minter: SerialMinter,
        quota: Quota,
        commits: Commits,
        *,
        clock: Clock,
        mutable: bool,
        retention_ms: int,
        max_members: int,
        max_accumulated: int,
        sweep: Sweep,
        rate: RollingRate | None = None,
        origin: str | None = None,
    ) -> None:
        self.name = name
        self.storage = storage
        self.presence = PresenceSet(max_members)
        # An empty channel needs an attach point, too: history "until attach" starts there.
        self.head = minter.mint()
        self.origin = origin or self.head
        self._minter = minter
        self._quota = quota
        self._commits = commits
        self.rate = rate
        self._mutable = mutable
        self._max_accumulated = max_accumulated
        self._retention_ms = retention_ms
        self._sweep = sweep
        self._publishes = KnownPublishes(clock)
        self._recall()

    # Publishing

    def publish(self, publisher: Publisher, submissions: Sequence[Submission]) -> Outcome:
        """Publish the messages of a frame, all or none.

        Raises:
            RefusedError: The publish breaks a rule.
        """
        if not submissions:
            raise bad_request("no messages to publish")
        if submissions[0].action == MessageAction.CREATE:
            return self._create(publisher, submissions)
        if len(submissions) > 1:
            raise bad_request("an update, delete or append must be the only message of its frame")
        return self.mutate(publisher, submissions[0])

    def _create(self, publisher: Publisher, submissions: Sequence[Submission]) -> Outcome:
        if len(submissions) > MAX_BATCH:
            raise bad_request(f"more than {MAX_BATCH} messages in one publish", 40009)
        if any(s.action != MessageAction.CREATE for s in submissions):
            raise bad_request("an update, delete or append must be the only message of its frame")
        identity = publisher.identity
        identity.capability.check(self.name, "publish")
        authors = [identity.author(submission.client_id) for submission in submissions]
        ids = given_ids(submissions)
        known = self._publishes.find(ids)
        if known is not None:
            return Outcome(known, None, ids[0])
        held = self._quota.used
        self._quota.take(submissions, len(self.storage.messages()))
        held, head = self._quota.used - held, self.head
        channel_serial = self._minter.mint()
        timestamp = self._minter.ms
        frame_id = publisher.frame_id or random_id(10)
        messages = tuple(
            StoredMessage(
                submission,
                serial=message_serial(channel_serial, index),
                channel_serial=channel_serial,
                id_=submission.id or f"{frame_id}:{index}",
                client_id=authors[index],
                connection_id=publisher.connection_id,
                timestamp=timestamp,
            )
            for index, submission in enumerate(submissions)
        )
        entry = LogEntry(
            channel_serial,
            timestamp,
            frame_id,
            publisher.connection_id,
            messages,
            msg_serials=publisher.msg_serials,
        )
        stored = tuple(m for m, s in zip(messages, submissions, strict=True) if not s.is_ephemeral)
        lasting = entry if len(stored) == len(messages) else replace(entry, messages=stored)

        def undo() -> None:
            self._publishes.forget(messages)
            self.storage.take_back(lasting)
            self._quota.used -= held
            self.head = head

        if stored:
            self._record(lasting, undo)
        else:
            self._commits.undo(undo)
        self.head = channel_serial
        serials: list[str | None] = [message.serial for message in messages]
        if ids:
            self._publishes.add(messages)
        wires = [message.wire() for message in messages]
        return Outcome(serials, Delivery(entry, is_create=True, messages=wires), messages[0].id)

    def target(self, publisher: Publisher, submission: Submission) -> StoredMessage:
        """Return the message that a mutation changes.

        Raises:
            RefusedError: The mutation breaks a rule.
        """
        if not submission.serial:
            raise bad_request("an update, delete or append must carry the serial of a message", 40003)
        identity = publisher.identity
        # Ably requires the publish operation of creates only; a mutation needs its message-* operation.
        if not self._mutable:
            raise not_mutable()
        message = self.storage.get(submission.serial)
        if message is None:
            raise unknown_serial(submission.serial)
        author = identity.author(submission.client_id)
        identity.capability.check_mutation(
            self.name,
            own=author is not None and author == message.client_id,
            delete=submission.action == MessageAction.DELETE,
            identified=author is not None,
        )
        message.check(submission)
        return message

    def mutate(self, publisher: Publisher, submission: Submission) -> Outcome:
        """Update, delete or append to one message.

        Raises:
            RefusedError: The mutation breaks a rule.
        """
        message = self.target(publisher, submission)
        message.check_growth(submission, self._max_accumulated)
        held = self._quota.used
        self._quota.take([submission], 0)
        held, head, before = self._quota.used - held, self.head, message.snapshot()
        channel_serial = self._minter.mint()
        timestamp = self._minter.ms
        version: WireVersion = {"serial": f"{channel_serial}:000", "timestamp": timestamp}
        author = publisher.identity.author(submission.client_id)
        if author is not None:
            version["clientId"] = author
        if submission.description is not None:
            version["description"] = submission.description
        if submission.metadata is not None:
            version["metadata"] = submission.metadata
        message.apply(submission, version)
        entry = LogEntry(
            channel_serial,
            timestamp,
            publisher.frame_id,
            publisher.connection_id,
            (message,),
            change=submission,
            msg_serials=publisher.msg_serials,
        )

        def undo() -> None:
            message.restore(before, submission)
            self.storage.take_back(entry)
            self._quota.used -= held
            self.head = head

        self._record(entry, undo)
        self.head = channel_serial
        is_append = submission.action == MessageAction.APPEND
        delta = message.delta(submission) if is_append else None
        return Outcome([version["serial"]], Delivery(entry, delta=delta), message.id)

    # Presence

    def enter(self, publisher: Publisher, events: Value) -> Delivery:
        """Take presence events and return the step for subscribers.

        Raises:
            RefusedError: The events break a rule.
        """
        members = self.presence.snapshot()
        channel_serial = self._minter.mint()
        taken = self.presence.apply(publisher, events, self._minter.ms)
        entry = LogEntry(
            channel_serial,
            self._minter.ms,
            publisher.frame_id,
            publisher.connection_id,
            presence=taken,
            msg_serials=publisher.msg_serials,
        )
        return self._announce(entry, members)

    def leave(self, connection_id: str) -> Delivery | None:
        """Remove the presence members of a connection; returns the step for subscribers, if there is one."""
        if not len(self.presence):
            return None
        members = self.presence.snapshot()
        frame_id = f"leave-{random_id(10)}"
        channel_serial = self._minter.mint()
        events = self.presence.leave(connection_id, frame_id, self._minter.ms)
        if not events:
            return None
        return self._announce(
            LogEntry(channel_serial, self._minter.ms, frame_id, connection_id, presence=events), members
        )

    def _announce(self, entry: LogEntry, members: dict[tuple[str, str], WirePresence]) -> Delivery:
        head = self.head

        def undo() -> None:
            self.presence.restore(members)
            self.storage.take_back(entry)
            self.head = head

        self._record(entry, undo)
        self.head = entry.channel_serial
        return Delivery(entry)

    # The log

    def forget_backlog(self) -> None:
        """Move the head on and forget the log: no earlier serial can be resumed from."""
        self.head = self._minter.mint()
        self.storage.forget_until(self.head)

    def _record(self, entry: LogEntry, undo: Callable[[], None]) -> None:
        """Store a step; it is undone if it cannot be stored, now or with its group."""
        try:
            self.storage.append(entry)
        except StorageError:
            undo()
            raise
        self._commits.undo(undo)
        self.storage.trim(before=entry.timestamp - self._retention_ms)
        self._sweep.note(self.storage)

    def _recall(self) -> None:
        """Load the data of an earlier process: the ids of its publishes, and the members present."""
        self.presence.recall(record.event for record in self.storage.presence())
        self._publishes.recall(self.storage.messages())


class Channels:
    """The channels of an app by name, made when first used."""

    def __init__(
        self,
        storage: Storage,
        minter: SerialMinter,
        quota: Quota,
        commits: Commits,
        *,
        options: LocalServerOptions,
        clock: Clock,
        sweep: Sweep,
        stats: Stats,
    ) -> None:
        self._storage = storage
        self._minter = minter
        self._quota = quota
        self._commits = commits
        self._options = options
        self._clock = clock
        self._sweep = sweep
        self._stats = stats
        self._channels: dict[str, Channel] = {}

    def open(self, name: str) -> Channel:
        """Return a channel, made when missing.

        Raises:
            RefusedError: 40114, the app has too many channels.
        """
        channel = self._channels.get(name)
        if channel is None:
            options = self._options
            limits = options.limits
            if len(self._channels) >= limits.max_channels:
                raise too_many_channels(limits.max_channels)
            channel = self._channels[name] = Channel(
                name,
                self._storage.channel(name),
                self._minter,
                self._quota,
                self._commits,
                clock=self._clock,
                mutable=options.is_mutable(name),
                retention_ms=options.retention_ms,
                max_members=limits.max_members,
                max_accumulated=limits.max_accumulated_size,
                sweep=self._sweep,
                rate=channel_rate(limits.channel_rate, self._clock),
                # Every step of a channel in a durable storage came after the origin of its series.
                origin=self._minter.origin if self._storage.is_durable else None,
            )
            self._stats.channels += 1
        return channel

    def find(self, name: str) -> Channel | None:
        """Return a channel; None when it does not exist yet."""
        return self._channels.get(name)

    def all(self) -> Iterable[Channel]:
        """Return all channels."""
        return self._channels.values()

    def reload(self) -> None:
        """Drop all channels and open those that the storage holds."""
        self._stats.channels -= len(self._channels)
        self._channels.clear()
        for name in self._storage.names():
            self._sweep.note(self.open(name).storage)
