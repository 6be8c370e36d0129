"""Channels: the order of publishes, the members present, and the steps that subscribers get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.idempotency import HELD_BY_ID, KnownPublishes, given_ids
from ably_ai_transport.local.core.presence import PresenceSet
from ably_ai_transport.local.core.steps import Delivery, Outcome
from ably_ai_transport.local.protocol.frames import MessageAction, WireVersion
from ably_ai_transport.local.protocol.messages import HELD_BY_MESSAGE, StoredMessage, Submission
from ably_ai_transport.local.protocol.presence import held_by_event
from ably_ai_transport.local.protocol.refusals import bad_request, not_mutable, unknown_serial
from ably_ai_transport.local.protocol.serials import MAX_BATCH, message_serial, random_id
from ably_ai_transport.local.storage.contract import LogEntry, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.core.rates import RollingRate
    from ably_ai_transport.local.core.steps import Publisher
    from ably_ai_transport.local.protocol.frames import WirePresence
    from ably_ai_transport.local.protocol.presence import PresenceSubmission
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.storage.contract import ChannelStorage


HELD_BY_CHANNEL: Final = 3000
"""Bytes of memory of an empty channel and its attachment, measured with CPython 3.11."""


class Channel:
    """One channel. Its methods are synchronous: each is one step for all subscribers.

    Attributes:
        name: The name, without a qualifier.
        storage: Its messages and its log.
        presence: The members present.
        head: The serial of the latest step.
        origin: A serial before all steps; clients may resume from there.
        rate: The limit of publishes, if there is one.
        attached: How many attachments it has.
    """

    __slots__ = (
        "_clock",
        "_commits",
        "_held",
        "_max_accumulated",
        "_minter",
        "_mutable",
        "_note",
        "_publishes",
        "_quota",
        "_retention_ms",
        "_used",
        "attached",
        "head",
        "name",
        "origin",
        "presence",
        "rate",
        "storage",
    )

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
        note: Callable[[Channel], None],
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
        self._note = note
        self._clock = clock
        self._publishes = KnownPublishes(clock)
        self._held = 0
        self._used: int | None = None
        self.attached = 0
        self._recall()
        self._count()

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
        authors = [identity.author(submission.client_id) for submission in submissions]
        ids = given_ids(submissions)
        known = self._publishes.find(ids)
        if known is not None:
            return Outcome(known, None, ids[0])
        held = [HELD_BY_MESSAGE + submission.held for submission in submissions]
        self._quota.check(sum(held) + len(ids) * HELD_BY_ID)
        self._quota.check_messages(len(self.storage.messages()) + len(submissions))
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
                held=held[index],
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
        head = self.head

        def undo() -> None:
            self._publishes.take_back(messages)
            self._take_back(lasting, head)

        if stored:
            self._record(lasting, undo)
        else:
            self._commits.undo(undo)
        self._moved(channel_serial)
        serials: list[str | None] = [message.serial for message in messages]
        if ids:
            self._publishes.add(messages)
            self._count()
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
        self._quota.check(message.growth(submission))
        head, before = self.head, message.snapshot()
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
            message.restore(before)
            self._take_back(entry, head)

        self._record(entry, undo)
        self._moved(channel_serial)
        is_append = submission.action == MessageAction.APPEND
        delta = message.delta(submission) if is_append else None
        return Outcome([version["serial"]], Delivery(entry, delta=delta), message.id)

    # Presence

    def enter(self, publisher: Publisher, submissions: Sequence[PresenceSubmission]) -> Delivery:
        """Take presence events and return the step for subscribers.

        Raises:
            RefusedError: The events break a rule.
        """
        channel_serial = self._minter.mint()
        timestamp = self._minter.ms
        events = self.presence.events(publisher, submissions, timestamp)
        # An event is held as a past one, and that of a member as well.
        self._quota.check(2 * sum(map(held_by_event, events)))
        members = self.presence.snapshot()
        self.presence.apply(events)
        entry = LogEntry(
            channel_serial,
            timestamp,
            publisher.frame_id,
            publisher.connection_id,
            presence=events,
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
            self._take_back(entry, head)

        self._record(entry, undo)
        self._moved(entry.channel_serial)
        return Delivery(entry)

    # The log

    def forget_backlog(self) -> None:
        """Move the head on and forget the log: no earlier serial can be resumed from."""
        self._moved(self._minter.mint())
        self.storage.forget_until(self.head)
        self._count()

    def _record(self, entry: LogEntry, undo: Callable[[], None]) -> None:
        """Store a step; it is undone if it cannot be stored, now or with its group."""
        try:
            self.storage.append(entry)
        except StorageError:
            undo()
            raise
        self._commits.undo(undo)
        self.storage.trim(before=entry.timestamp - self._retention_ms)
        self._count()

    def _take_back(self, entry: LogEntry, head: str) -> None:
        """Undo the latest step, once its changes are undone."""
        self.storage.take_back(entry)
        self.head = head
        self._count()

    def _moved(self, head: str) -> None:
        self.head = head
        self.touch()

    def _recall(self) -> None:
        """Load the data of an earlier process: the ids of its publishes, and the members present."""
        self.presence.apply(record.event for record in self.storage.presence())
        self._publishes.recall(self.storage.messages())

    # What it holds

    def touch(self) -> None:
        """Note that the channel is in use: clients may resume from its head for a while."""
        self._used = self._clock.now()
        self._note(self)

    def tidy(self) -> bool:
        """Forget what is too old; returns whether more will be."""
        remains = self.storage.trim(self._clock.now() - self._retention_ms)
        self._publishes.forget()
        self._count()
        return remains or bool(self._publishes.held) or not (self.attached or self.storage.messages())

    @property
    def is_new(self) -> bool:
        """Whether nothing has happened on it since it was made."""
        return self._used is None and self._held == HELD_BY_CHANNEL

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with the channel: a new one in its place would be the same."""
        if self.attached or len(self.presence) or self._publishes.held or self._held > HELD_BY_CHANNEL:
            return False
        if self._used is not None and self._clock.now() - self._used < self._retention_ms:
            return False
        return self.rate is None or self.rate.is_idle

    def hold(self, size: int) -> None:
        """Count bytes of memory that its attachments hold; negative once they give them back."""
        self._quota.used += size

    def release(self) -> None:
        """Give back what the channel holds, when it is gone."""
        self._quota.used -= self._held
        self._held = 0

    def _count(self) -> None:
        """Count what the channel holds now."""
        held = HELD_BY_CHANNEL + self.storage.held + self.presence.held + self._publishes.held
        self._quota.used += held - self._held
        self._held = held
