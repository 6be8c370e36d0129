"""Occupancy: how many connections a channel has, by what they may do, for clients that ask for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.frames import Action, Flag, Frame, MessageAction
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.attachment import Attachment
    from ably_ai_transport.local.core.channel import Channel

_SETTLE_MS: Final = 1000
_BY_MODE: Final = {
    "publishers": Flag.PUBLISH,
    "subscribers": Flag.SUBSCRIBE,
    "presenceConnections": Flag.PRESENCE,
    "presenceSubscribers": Flag.PRESENCE_SUBSCRIBE,
    "objectPublishers": Flag.OBJECT_PUBLISH,
    "objectSubscribers": Flag.OBJECT_SUBSCRIBE,
}


def count_metrics(attachments: Collection[Attachment], members: int) -> dict[str, int]:
    """Count the metrics of a channel (Ably docs: occupancy; specification CHM2).

    Args:
        attachments: The attachments of the channel.
        members: The number of its presence members.
    """
    by_mode = {
        name: sum(1 for attachment in attachments if attachment.modes & mode)
        for name, mode in _BY_MODE.items()
    }
    connections = len({attachment.connection.id for attachment in attachments})
    return {"connections": connections, "presenceMembers": members, **by_mode}


class _Watch:
    """The attachments that get the occupancy of one channel, and what each has got."""

    __slots__ = ("has_changed", "sent", "timer")

    def __init__(self) -> None:
        self.sent: dict[Attachment, dict[str, int]] = {}
        self.timer: Timer | None = None
        self.has_changed = False


class Occupancy:
    """Sends `[meta]occupancy` messages to attachments with `params: {occupancy: …}`.

    An attachment gets the metrics when it attaches, and when they change. The first change is sent at once,
    those of the next second together: a thousand connections that attach do not make a thousand messages.
    Ably takes up to 15 seconds.
    """

    def __init__(self, count: Callable[[Channel], dict[str, int]], clock: Clock) -> None:
        self._count = count
        self._clock = clock
        self._watches: dict[Channel, _Watch] = {}

    def add(self, attachment: Attachment) -> None:
        """Send the metrics to an attachment from now on."""
        watch = self._watches.setdefault(attachment.channel, _Watch())
        watch.sent[attachment] = {}
        self._send(watch, attachment, self._count(attachment.channel))

    def discard(self, attachment: Attachment) -> None:
        """Send nothing more to an attachment."""
        watch = self._watches.get(attachment.channel)
        if watch is None:
            return
        watch.sent.pop(attachment, None)
        if not watch.sent:
            if watch.timer is not None:
                watch.timer.cancel()
            del self._watches[attachment.channel]

    def changed(self, channel: Channel) -> None:
        """Take notice that a connection or a presence member has come, gone or changed."""
        watch = self._watches.get(channel)
        if watch is None:
            return
        if watch.timer is None:
            self._publish(channel, watch)
        else:
            watch.has_changed = True

    def _publish(self, channel: Channel, watch: _Watch) -> None:
        metrics = self._count(channel)
        for attachment in watch.sent:
            self._send(watch, attachment, metrics)

        def settle() -> None:
            watch.timer = None
            if watch.has_changed:
                self._publish(channel, watch)

        watch.has_changed = False
        watch.timer = self._clock.call_later(_SETTLE_MS, settle)

    def _send(self, watch: _Watch, attachment: Attachment, metrics: dict[str, int]) -> None:
        shown = {name: metrics[name] for name in attachment.occupancy}
        if shown == watch.sent[attachment]:
            return
        watch.sent[attachment] = shown
        id_ = f"{random_id(10)}:0"
        frame: Frame = {
            "action": int(Action.MESSAGE),
            "channel": attachment.label,
            "id": id_,
            "timestamp": self._clock.now(),
            "messages": [
                {
                    "id": f"{id_}:0",
                    "action": int(MessageAction.META),
                    "name": "[meta]occupancy",
                    "data": json.dumps({"metrics": shown}, separators=(",", ":")),
                    "encoding": "json",
                    "timestamp": self._clock.now(),
                }
            ],
        }
        attachment.connection.send(frame)
        attachment.forget_base()
