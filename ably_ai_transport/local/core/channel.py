"""A channel: the order of what is published on it, and who gets it."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from ably_ai_transport.local.core.presence import PresenceSet
from ably_ai_transport.local.core.steps import Delivery
from ably_ai_transport.local.protocol.frames import MessageAction, WireVersion
from ably_ai_transport.local.protocol.messages import StoredMessage, Submission
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request, not_mutable, unknown_serial
from ably_ai_transport.local.protocol.serials import MAX_BATCH, message_serial, random_id
from ably_ai_transport.local.storage.contract import LogEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.core.attachment import Attachment
    from ably_ai_transport.local.core.limits import Quota, RateLimit
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.storage.contract import ChannelStorage

_QUALIFIED: Final = re.compile(r"\[(?P<kind>[^\]?]*)(?:\?(?P<params>[^\]]*))?\](?P<name>.*)", re.DOTALL)
_REMEMBERED_IDS: Final = 10_000


def split_name(label: str) -> tuple[str, dict[str, str]]:
    """Split a channel's name as a client spells it into the name and the params of its qualifier.

    Raises:
        RefusedError: 40010, this is not the name of a channel.
    """
    params: dict[str, str] = {}
    name = label
    if label.startswith("["):
        match = _QUALIFIED.fullmatch(label)
        if match is None or match["kind"]:
            raise RefusedError(40010, 400, f"unsupported channel qualifier: {label!r}")
        name = match["name"]
        params = dict(parse_qsl(match["params"] or ""))
    if not name or name.startswith(":") or "\n" in name:
        raise RefusedError(40010, 400, f"invalid channel name: {label!r}")
    return name, params


@dataclass(frozen=True, slots=True)
class Publisher:
    """On whose behalf something is published.

    Attributes:
        identity: The credentials in force.
        connection_id: The connection it came over; None for REST.
        frame_id: The id of the frame it came in, `<connectionId>:<msgSerial>`; None for REST.
        msg_serials: The frames that were rolled up into it.
    """

    identity: Identity
    connection_id: str | None = None
    frame_id: str | None = None
    msg_serials: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a publish: the serials to acknowledge, and what subscribers get (None for a repeat)."""

    serials: list[str | None]
    delivery: Delivery | None
    message_id: str


class Channel:
    """One channel. All its methods are synchronous: each is one step for everybody who watches."""

    def __init__(
        self,
        name: str,
        storage: ChannelStorage,
        minter: SerialMinter,
        quota: Quota,
        *,
        mutable: bool,
        retention_ms: int,
        max_members: int,
        on_step: Callable[[ChannelStorage], None],
        rate: RateLimit | None = None,
        origin: str | None = None,
    ) -> None:
        self.name = name
        self.storage = storage
        self.presence = PresenceSet(max_members)
        self.attachments: dict[Attachment, None] = {}
        # Attach points of an empty channel must exist, too: history "until attach" starts there.
        self.head = minter.mint()
        self.origin = origin or self.head
        self._minter = minter
        self._quota = quota
        self.rate = rate
        self._mutable = mutable
        self._retention_ms = retention_ms
        self._on_step = on_step
        self._remembered: OrderedDict[str, list[str | None]] = OrderedDict()
        self._recall()

    # Publishing

    def publish(self, publisher: Publisher, submissions: Sequence[Submission]) -> Outcome:
        """Take a frame's messages, all or none. The outcome's delivery is for `fan_out`.

        Raises:
            RefusedError: the publish breaks a rule.
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
        given_id = submissions[0].id
        if given_id is not None and (known := self._remembered.get(given_id)) is not None:
            return Outcome(known, None, given_id)
        self._quota.take(submissions, len(self.storage.messages()))
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
        if stored:
            self._record(entry if len(stored) == len(messages) else replace(entry, messages=stored))
        self.head = channel_serial
        serials: list[str | None] = [message.serial for message in messages]
        if given_id is not None:
            self._remember(given_id, serials)
        wires = [message.wire() for message in messages]
        return Outcome(serials, Delivery(entry, is_create=True, messages=wires), messages[0].id)

    def target(self, publisher: Publisher, submission: Submission) -> StoredMessage:
        """Return the message a mutation is for.

        Raises:
            RefusedError: the mutation breaks a rule.
        """
        if not submission.serial:
            raise bad_request("an update, delete or append must carry the serial of a message", 40003)
        identity = publisher.identity
        # Ably asks for publish beside the message-* operation only of clients that create.
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
            RefusedError: the mutation breaks a rule.
        """
        message = self.target(publisher, submission)
        self._quota.take([submission], 0)
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
        self._record(entry)
        self.head = channel_serial
        is_append = submission.action == MessageAction.APPEND
        delta = message.delta(submission) if is_append else None
        return Outcome([version["serial"]], Delivery(entry, delta=delta), message.id)

    def announce(self, entry: LogEntry) -> Delivery:
        """Record a step that is not a publish: presence."""
        self._record(entry)
        self.head = entry.channel_serial
        return Delivery(entry)

    def forget_backlog(self) -> None:
        """Move the head on and forget what led there: no earlier serial can be resumed from."""
        self.head = self._minter.mint()
        self.storage.forget_until(self.head)

    def fan_out(self, delivery: Delivery) -> None:
        """Hand a step to every attachment."""
        for attachment in self.attachments:
            attachment.deliver(delivery)

    def _record(self, entry: LogEntry) -> None:
        self.storage.append(entry)
        self.storage.trim(before=entry.timestamp - self._retention_ms)
        self._on_step(self.storage)

    def _remember(self, id_: str, serials: list[str | None]) -> None:
        self._remembered[id_] = serials
        if len(self._remembered) > _REMEMBERED_IDS:
            self._remembered.popitem(last=False)

    def _recall(self) -> None:
        """Know what a process before has stored: ids that are not to be doubled, and who was present."""
        self.presence.recall(record.event for record in self.storage.presence())
        groups: dict[str, list[StoredMessage]] = {}
        for message in self.storage.messages()[-_REMEMBERED_IDS:]:
            groups.setdefault(message.channel_serial, []).append(message)
        for group in groups.values():
            self._remember(group[0].id, [message.serial for message in group])
