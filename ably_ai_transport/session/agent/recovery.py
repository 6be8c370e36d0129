"""Recovery of an agent's channel: attached again after a loss, and what was missed is read."""

from typing import Generic

import anyio

from ably_ai_transport.channel import ChannelState, ChannelStateChange
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.connection import continuity_lost_error
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.wire import AITransportError, ErrorCode, error_of

RECOVERY_TIMEOUT_SECONDS = 600.0
"""How long writes wait for the channel by default. Models are paid for while they wait, sessions are not."""

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0


class Recovery(Generic[InT, OutT, ProjT, MsgT]):
    """Holds the writes of one session back while its channel is away, and lets them go on afterwards.

    The SDK attaches a channel again by itself in most cases. Where it does not, this class asks for it, with
    growing pauses. Then history is read back to what is known: a cancel, a steering message or the end of a
    run that came meanwhile is seen before anything more is written.

    Args:
        core: The session's parts.
        timeout: How long a write waits for the channel, in seconds; None waits for ever.

    Attributes:
        losses: How often the channel went away. What was on its way then may have been refused.
    """

    def __init__(self, core: SessionCore[InT, OutT, ProjT, MsgT], timeout: float | None) -> None:
        self.losses = 0
        self._core = core
        self._timeout = timeout
        self._back: Latch[None] | None = None
        self._ending = False

    @property
    def is_away(self) -> bool:
        """Whether writes have to wait, or are refused because the channel did not come back."""
        return self._back is not None

    async def ready(self) -> None:
        """Wait until the channel is attached and what was missed has been read.

        Raises:
            ChannelRefusedError: The channel failed, or did not come back in time (104007).
        """
        if self._back is not None:
            await self._back

    async def comes_back(self, losses: int) -> bool:
        """Tell whether a write failed because the channel went away, and wait until it is back.

        Args:
            losses: The value of :attr:`losses` before the write.

        Returns:
            Whether to write again. False if the channel refused the write, and if it does not come back.
        """
        if self._ending or self.losses == losses:
            return False
        try:
            await self.ready()
        except AITransportError:
            return False
        return True

    def on_lost(self, change: ChannelStateChange) -> None:
        """Take note that messages may have been missed.

        Args:
            change: The change of the channel's state that says so.
        """
        core = self._core
        core.conversation.expect_gap()
        if change.current is not ChannelState.ATTACHED:
            self.losses += 1
        if self._back is None:
            core.report(continuity_lost_error(change, "deliver messages without a gap"))
            self._back = Latch[None]()
            core.tasks.start(self._bring_back(self._back))
        if self._ending or change.current is ChannelState.FAILED:
            self._back.reject(self._gone(f"channel is {change.current}"))

    def give_up(self) -> None:
        """Let no write wait any more: the session ends."""
        self._ending = True
        if self._back is not None:
            self._back.reject(self._gone("session ends"))

    async def _bring_back(self, back: Latch[None]) -> None:
        with anyio.move_on_after(self._timeout) as patience:
            await self._catch_up()
        if patience.cancelled_caught:
            back.reject(self._gone(f"channel was not attached again within {self._timeout:g} s"))
            await self._catch_up()
        self._back = None
        back.resolve(None)
        self._core.log.info("The channel is attached again; writes go on")

    async def _catch_up(self) -> None:
        """Attach the channel and read what was missed; once more where it was lost again meanwhile."""
        while True:
            await self._attach()
            await self._read_missed()
            if self._core.channel.state is ChannelState.ATTACHED:
                return

    async def _attach(self) -> None:
        channel = self._core.channel
        changed = anyio.Event()
        off = channel.on_state(lambda _: changed.set())
        pause = _FIRST_PAUSE_SECONDS
        try:
            while channel.state is not ChannelState.ATTACHED:
                with anyio.move_on_after(pause) as quiet:
                    await changed.wait()
                changed = anyio.Event()
                if quiet.cancelled_caught and channel.state is not ChannelState.FAILED:
                    pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                    await self._try_to_attach()
        finally:
            off()

    async def _try_to_attach(self) -> None:
        try:
            await self._core.channel.attach()
        except AITransportError as error:
            self._core.log.debug("The channel could not be attached: %s", error)

    async def _read_missed(self) -> None:
        """Read history back to what is known. Where that fails, the session goes on with the gap."""
        try:
            await self._core.conversation.fill_gap()
        except AITransportError as error:
            self._core.report(error)

    def _gone(self, why: str) -> AITransportError:
        reason = self._core.channel.error_reason
        return error_of(f"unable to publish; {why}", ErrorCode.CHANNEL_NOT_READY, 400, reason)
