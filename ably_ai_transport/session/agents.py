"""Agents on a channel: which runs do those that are present work on, and which agents are gone."""

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, cast

import anyio

from ably_ai_transport.channel import ChannelState, ChannelStateChange, PresenceMember
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import RunInfo, RunNode
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.wire import AITransportError, ErrorCode, RunResume, RunStart
from ably_ai_transport.wire.listeners import Listeners

_GONE = frozenset({0, 3})
"""Presence actions of a member that is not there: absent, leave."""
_CONFIRM_SECONDS = 5.0
"""How long the announcement of a run may come after the start of the run."""


def announcement(runs: list[str]) -> dict[str, object]:
    """Write the presence data of an agent.

    Args:
        runs: The runs that it works on.

    Returns:
        JSON, under a key of its own: an application may have presence data, too.
    """
    return {"ai": {"role": "agent", "runs": runs}}


def read_announcement(data: object) -> frozenset[str] | None:
    """Read the presence data of a member.

    Args:
        data: The data, as JSON or as its text.

    Returns:
        The runs that it works on; None if the member is no agent, or does not announce its runs.
    """
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            return None
    envelope = cast("Mapping[str, object]", data).get("ai") if isinstance(data, Mapping) else None
    runs = cast("Mapping[str, object]", envelope).get("runs") if isinstance(envelope, Mapping) else None
    if not isinstance(runs, list):
        return None
    return frozenset(run for run in cast("list[object]", runs) if isinstance(run, str))


class AgentFollower(Generic[InT, OutT, ProjT, MsgT]):
    """Keeps the runs of the agents that are present, in the conversation of one session.

    Args:
        core: The session's parts.

    Attributes:
        changed: Called after each change.
    """

    def __init__(self, core: SessionCore[InT, OutT, ProjT, MsgT]) -> None:
        self.changed = Listeners[None](logger=LOGGER)
        self._core = core
        self._gone = Listeners[RunInfo](core.report_listener, spawn=core.tasks.start, logger=LOGGER)
        self._members: dict[tuple[str | None, str | None], frozenset[str]] = {}
        self._following = anyio.Lock()
        self._is_following = False
        self._told: set[str] = set()
        self._confirming = False

    async def follow(self) -> None:
        """Subscribe to presence, once.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused
                (104001).
        """
        async with self._following:
            await self._core.require("follow agents")
            if self._is_following:
                return
            channel = self._core.channel
            presence, listener = channel.presence, self._on_presence
            try:
                await presence.subscribe(listener)
                await self._read()
            except BaseException:
                presence.unsubscribe(listener)
                raise
            self._is_following = True
            self._core.connection.on_close(lambda: presence.unsubscribe(listener))
            self._core.connection.on_close(channel.on_state(self._on_state))
            self._publish()

    def on_gone(self, listener: Callable[[RunInfo], object]) -> Callable[[], None]:
        """Call a function with each active run whose agent is gone; follow agents from now on."""
        if not self._gone:
            self._core.conversation.subscribe(lambda _: self._confirm_later(), RunStart, RunResume)
            self._core.tasks.start(self._reported(self.follow()))
        return self._gone.add(listener)

    async def _read(self) -> None:
        """Read the members that are present now."""
        try:
            members = await self._core.channel.presence.get()
        except Exception as error:
            raise AITransportError.wrap(
                "follow agents", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR
            ) from error
        self._members.clear()
        for member in members:
            self._take(member)

    async def _read_again(self) -> None:
        await self._read()
        self._publish()

    async def _reported(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AITransportError as error:
            self._core.report(error)

    def _on_state(self, change: ChannelStateChange) -> None:
        if change.current is ChannelState.ATTACHED and not change.resumed:
            # The SDK forgets the members of a channel that was detached, and does not say that they left.
            self._core.tasks.start(self._reported(self._read_again()))

    def _on_presence(self, member: PresenceMember) -> None:
        self._take(member)
        if self._is_following:
            self._publish()

    def _take(self, member: PresenceMember) -> None:
        key = (member.connection_id, member.client_id)
        runs = None if member.action in _GONE else read_announcement(member.data)
        if runs is None:
            self._members.pop(key, None)
        else:
            self._members[key] = runs

    def _publish(self) -> None:
        """Put the runs of the members into the conversation, and tell of those whose agents are gone."""
        tree = self._core.conversation.tree
        before = tree.present_runs or frozenset[str]()
        tree.present_runs = now = frozenset[str]().union(*self._members.values())
        self._told -= now
        self._tell(before - now)
        self._confirm_later()
        self.changed.emit(None)

    def _tell(self, run_ids: Iterable[str]) -> None:
        tree = self._core.conversation.tree
        for run_id in run_ids:
            node = tree.get_run_node(run_id)
            if node is not None and tree.is_agent_present(node) is False and run_id not in self._told:
                self._told.add(run_id)
                self._gone.emit(tree.describe(node))

    def _unlisted(self) -> list[str]:
        """List the runs that no member lists, and that nobody was told of."""
        tree = self._core.conversation.tree
        return [
            node.key
            for node in tree.index
            if isinstance(node, RunNode)
            and tree.is_agent_present(node) is False
            and node.key not in self._told
        ]

    def _confirm_later(self) -> None:
        if self._gone and not self._confirming and self._unlisted():
            self._confirming = True
            self._core.tasks.start(self._confirm())

    async def _confirm(self) -> None:
        """Tell of runs that have not been listed at all; the list of a new run may come after its start."""
        await anyio.sleep(_CONFIRM_SECONDS)
        self._confirming = False
        self._tell(self._unlisted())
