"""The ``reap`` command: it ends runs whose agents are lost."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio
from rich.console import Console
from rich.text import Text

from ably_ai_transport import AITransportError, ChannelClient, ClientSession, ErrorCode, RunInfo
from ably_ai_transport.channel import client_options, opened
from ably_ai_transport.cli.connection import reach
from ably_ai_transport.cli.problems import FAILED, MISUSED, CliError, complain
from ably_ai_transport.codec import LifecycleOnlyCodec
from ably_ai_transport.wire import RunLifecycleEvent

_OUR_FAILURES: Final = frozenset(
    {
        ErrorCode.INSUFFICIENT_CAPABILITY,
        ErrorCode.SESSION_SUBSCRIPTION_ERROR,
        ErrorCode.RUN_LIFECYCLE_ERROR,
        ErrorCode.CHANNEL_CONTINUITY_LOST,
        ErrorCode.CHANNEL_NOT_READY,
        ErrorCode.HISTORY_FETCH_FAILED,
    }
)
"""Codes of failures of the command itself. A session reports the errors of agents, too."""


@dataclass(frozen=True, slots=True)
class ReapOptions:
    """Options of the command.

    Attributes:
        sessions: The sessions to watch.
        key: The Ably key; left out of the ``repr``.
        endpoint: The host and port of a running local server.
        grace: How long an agent may be absent, in seconds.
        max_silence: How long a run of an agent that does not announce its runs may be silent, in seconds.
        look_back: How far back history is read, in hours.
        once: Whether to leave after the runs that are lost now.
    """

    sessions: Sequence[str]
    key: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    grace: float = 15.0
    max_silence: float | None = None
    look_back: float = 24.0
    once: bool = False


async def run_reap(options: ReapOptions, console: Console | None = None) -> int:
    """Reap until SIGINT or SIGTERM, or once.

    Args:
        options: The options of the command.
        console: The console to write to; standard output by default.

    Returns:
        The exit code: 1 if a session could not be watched to the end.

    Raises:
        CliError: There is no key, or the server cannot be reached.
    """
    if options.key is None:
        raise CliError("A key is needed: add --key APP.KEY:SECRET, or set ABLY_KEY.", MISUSED)
    console = console or Console(highlight=False, soft_wrap=True)
    client_id = "reaper"
    settings = client_options(options.endpoint, key=options.key, client_id=client_id)
    await reach(settings)
    reapers: list[_Reaping] = []
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with opened(settings) as client, anyio.create_task_group() as tasks:
            reapers.extend(_Reaping(client, name, options, console) for name in options.sessions)

            async def stop_at_signal() -> None:
                async for _ in signals:
                    break
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_at_signal)
            async with anyio.create_task_group() as working:
                for reaper in reapers:
                    working.start_soon(reaper.run)
                if not options.once:
                    console.print(Text(f"Watching {', '.join(options.sessions)}. Ctrl-C stops it.", "dim"))
            tasks.cancel_scope.cancel()
    ended = sum(reaper.ended for reaper in reapers)
    console.print(f"Ended {ended} {'run' if ended == 1 else 'runs'}.")
    return FAILED if any(reaper.failed for reaper in reapers) else 0


class _Reaping:
    """One session that is watched.

    Args:
        client: The Ably client.
        name: The session.
        options: The options of the command.
        console: The console to write to.
    """

    def __init__(self, client: ChannelClient, name: str, options: ReapOptions, console: Console) -> None:
        self.ended = 0
        self.failed = False
        self._client = client
        self._name = name
        self._options = options
        self._console = console
        self._lost: set[str] = set()

    async def run(self) -> None:
        """Watch the session, or end the runs that are lost in it now."""
        options = self._options
        look_back = options.look_back * 3600
        try:
            async with ClientSession(self._client, self._name, codec=LifecycleOnlyCodec()) as session:
                session.on_error(self._on_error)
                session.tree.on_run(self._on_run)
                reap = session.reap_once if options.once else session.reap
                await reap(
                    grace=options.grace,
                    max_silence=options.max_silence,
                    policy=self._decide,
                    look_back=look_back,
                )
        except AITransportError as error:
            self._fail(error)

    def _decide(self, run: RunInfo) -> Literal["end"]:
        self._lost.add(run.run_id)
        return "end"

    def _on_run(self, event: RunLifecycleEvent) -> None:
        if event.type == "end" and event.run_id in self._lost:
            self._lost.discard(event.run_id)
            self.ended += 1
            self._console.print(
                Text.assemble((self._name, "bold"), f": ended run {event.run_id}, whose agent was lost")
            )

    def _on_error(self, error: AITransportError) -> None:
        if error.code not in _OUR_FAILURES:
            return
        if self._options.once:
            self._fail(error)
        else:
            # It is tried again.
            complain(f"{self._name}: {error}")

    def _fail(self, error: AITransportError) -> None:
        self.failed = True
        complain(f"{self._name}: {error}")
