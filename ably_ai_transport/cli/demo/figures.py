"""Figures of the demo: frames, tokens and latencies, counted at the server."""

import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from rich import box
from rich.table import Table

from ably_ai_transport import InboundMessage, MessageAction
from ably_ai_transport.local import Stats
from ably_ai_transport.wire import names

Frame: TypeAlias = Mapping[str, object]
AGENT = "agent"
_MESSAGE, _CREATE, _APPEND = 15, 0, 5


@dataclass(slots=True)
class Growth:
    """The appends of one streamed text: total length and time after each."""

    lengths: list[int] = field(default_factory=list[int])
    times: list[float] = field(default_factory=list[float])

    def add(self, length: int, now: float) -> None:
        """Record an append."""
        self.lengths.append((self.lengths[-1] if self.lengths else 0) + length)
        self.times.append(now)


@dataclass(slots=True)
class Figures:
    """Counts frames and tokens, and measures latencies.

    Attributes:
        counters: The server's own counters.
        follower: The connection whose deliveries are measured.
        clock: Returns the time, in seconds.
        tokens: Tokens that the model produced.
        appends_in: Appends that the agent sent.
        appends_out: Appends that the follower received.
        first_tokens: Seconds from each question to the agent's first token.
        latencies: Seconds from a token's arrival at the server to the follower's conversation.
    """

    counters: Stats
    follower: str
    clock: Callable[[], float] = time.perf_counter
    tokens: int = 0
    appends_in: int = 0
    appends_out: int = 0
    first_tokens: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])
    _asked: float | None = None
    _sent: dict[str, Growth] = field(default_factory=dict[str, Growth])
    _received: dict[str, int] = field(default_factory=dict[str, int])

    def on_frame(self, direction: str, connection: str, frame: Frame) -> None:
        """Count a frame at the server."""
        if frame.get("action") != _MESSAGE:
            return
        for message in cast("Sequence[Frame]", frame.get("messages", ())):
            if direction == "c2s":
                self._on_sent(connection, message)
            elif connection == self.follower and message.get("action") == _APPEND:
                self.appends_out += 1

    def on_received(self, message: InboundMessage) -> None:
        """Record that the follower has a message in its conversation."""
        if message.action is not MessageAction.APPEND or message.serial is None:
            return
        growth = self._sent.get(message.serial)
        if growth is None or not isinstance(message.data, str):
            return
        now = self.clock()
        start = self._received.get(message.serial, 0)
        end = self._received[message.serial] = start + len(message.data)
        first = bisect_left(growth.lengths, start + 1)
        last = bisect_left(growth.lengths, end)
        self.latencies.extend(now - sent for sent in growth.times[first : last + 1])

    @property
    def merge_factor(self) -> float:
        """The average number of tokens that a follower gets at once."""
        return self.tokens / self.appends_out if self.appends_out else 0.0

    @property
    def appends_per_second(self) -> float:
        """Rate of appends while a reply streams."""
        streams = [growth.times for growth in self._sent.values() if len(growth.times) > 1]
        seconds = sum(times[-1] - times[0] for times in streams)
        return sum(len(times) - 1 for times in streams) / seconds if seconds else 0.0

    def line(self, width: int) -> str:
        """Format as many figures as fit into one line.

        Args:
            width: Width of the line, in characters.

        Returns:
            The figures, the most important ones first.
        """
        counters = self.counters
        parts = [f"{self.tokens:,} tokens", f"{self.appends_per_second:.0f} appends/s"]
        if self.first_tokens:
            parts.append(f"first after {_milliseconds(self.first_tokens[-1])}")
        if self.latencies:
            parts.append(f"lag {_milliseconds(statistics.median(self.latencies[-200:]))}")
        parts += [
            f"merge x{self.merge_factor:.1f}",
            f"frames {counters.frames_in:,}/{counters.frames_out:,}",
            f"kB {counters.bytes_in / 1000:,.0f}/{counters.bytes_out / 1000:,.0f}",
            f"{counters.connections} connections",
        ]
        while len(" · ".join(parts)) > width and len(parts) > 1:
            del parts[-1]
        return " · ".join(parts)

    def table(self) -> Table:
        """Format all figures as a table."""
        counters = self.counters
        table = Table(
            title="Over the wire, counted at the server",
            title_justify="left",
            title_style="bold",
            show_header=False,
            box=box.SIMPLE,
        )
        table.add_column()
        table.add_column(justify="right")
        table.add_column(style="dim")
        frames = f"{counters.frames_in:,} / {counters.frames_out:,}"
        size = f"{_size(counters.bytes_in)} / {_size(counters.bytes_out)}"
        tokens = max(self.tokens, 1)
        share = f"{counters.bytes_in / tokens:.0f} / {counters.bytes_out / tokens:.0f}"
        lag = f"until {self.follower} sees a token"
        rows = (
            ("Tokens from the model", f"{self.tokens:,}", "pieces of text and reasoning"),
            ("Appends in", f"{self.appends_in:,}", "the agent sent for them"),
            ("Appends out", f"{self.appends_out:,}", f"{self.follower} got for them"),
            ("Merge factor", f"{self.merge_factor:.2f}", "tokens per append out"),
            ("Messages", f"{counters.messages:,}", "created, markers included"),
            ("Frames in / out", frames, f"on {counters.connections_opened} connections"),
            ("Bytes in / out", size, "of all frames"),
            ("Bytes per token", share, "out is to all of them"),
            (
                "Time to first token",
                _spread(self.first_tokens),
                "with the model's own pause",
            ),
            ("Appends per second", f"{self.appends_per_second:.0f}", "while a reply streams"),
            ("Follower's lag", _spread(self.latencies), lag),
        )
        for row in rows:
            table.add_row(*row)
        return table

    def _on_sent(self, connection: str, message: Frame) -> None:
        now = self.clock()
        if connection != AGENT:
            if message.get("name") == names.AI_INPUT:
                self._asked = now
            return
        action = message.get("action", _CREATE)
        data = message.get("data")
        if action == _APPEND and isinstance(data, str):
            if data:
                self.appends_in += 1
                self._sent.setdefault(str(message.get("serial")), Growth()).add(len(data), now)
        elif message.get("name") != names.AI_OUTPUT:
            return
        if data and self._asked is not None:
            self.first_tokens.append(now - self._asked)
            self._asked = None


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    if len(seconds) < 20:
        return _milliseconds(statistics.median(seconds))
    ordered = sorted(seconds)
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]
    return f"{_milliseconds(middle)} (p95 {_milliseconds(late)})"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def _size(count: float) -> str:
    return f"{count:.0f} B" if count < 1000 else f"{count / 1000:.1f} kB"
