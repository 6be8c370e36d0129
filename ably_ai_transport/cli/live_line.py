"""The status line of a server: connections, channels and rates, at the bottom of a terminal."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ably_ai_transport.local import Stats

PERIOD_SECONDS: Final = 1.0
"""Rates are averaged over this time."""


@asynccontextmanager
async def live_line(stats: Stats, console: Console) -> AsyncGenerator[None]:
    """Show connections, channels and rates while the block runs, in a terminal only.

    Args:
        stats: The server's counters.
        console: The console to write to.
    """
    if not console.is_terminal:
        yield
        return
    now = stats.snapshot()
    with Live(describe(now, now), console=console, auto_refresh=False, transient=True) as live:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_refresh, stats, live)
            yield
            tasks.cancel_scope.cancel()


def describe(before: Mapping[str, int], now: Mapping[str, int]) -> Text:
    """Format one period of a server's work as a line.

    Args:
        before: Its counters when the period began.
        now: Its counters when it ended.

    Returns:
        The line.
    """

    def rate(*names: str) -> str:
        return f"{sum(now[name] - before[name] for name in names) / PERIOD_SECONDS:,.0f}/s"

    refused = (f"  {now['refusals']:,} refused", "yellow") if now["refusals"] else ""
    return Text.assemble(
        (f"{now['connections']:,}", "bold"),
        " connections  ",
        (f"{now['channels']:,}", "bold"),
        " channels  ",
        (rate("messages", "appends", "updates"), "bold"),
        " messages in  ",
        (rate("frames_out"), "bold"),
        " frames out  ",
        (rate("requests"), "bold"),
        " requests",
        refused,
    )


async def _refresh(stats: Stats, live: Live) -> None:
    before = stats.snapshot()
    while True:
        await anyio.sleep(PERIOD_SECONDS)
        now = stats.snapshot()
        live.update(describe(before, now), refresh=True)
        before = now
