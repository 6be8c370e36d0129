"""The metrics of sessions, and the counters that they are read from."""

from collections.abc import Iterable
from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter

from ably_ai_transport.channel.contract import PublishStats
from ably_ai_transport.codec.contract import EncoderStats
from ably_ai_transport.version import __version__

NAME: Final = "ably_ai_transport"
"""The instrumentation scope, and the first part of the names of what is the library's own."""

_SHORT: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_RUNS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
"""Bounds in seconds, as the semantic conventions have them for messaging and for agents."""


class Metrics:
    """The instruments.

    Args:
        provider: Makes them; the global provider by default.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter(NAME, __version__, provider)
        self.run_duration = meter.create_histogram(
            "gen_ai.invoke_agent.duration",
            "s",
            "Duration of runs.",
            explicit_bucket_boundaries_advisory=_RUNS,
        )
        self.publish_duration = meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "Round trips of inputs, requests and lifecycle messages, until their acks.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.first_token = meter.create_histogram(
            f"{NAME}.time_to_first_token",
            "s",
            "An agent's run from its start, or a client's send, to the first text.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.follower_lag = meter.create_histogram(
            f"{NAME}.follower.lag",
            "s",
            "Age of lifecycle messages when a client gets them, by the clocks of the server and the client.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.reconnects = meter.create_counter(
            f"{NAME}.session.reconnects", "{reconnect}", "Times that a session's channel was attached again."
        )
        self._streams = {
            field: meter.create_counter(f"{NAME}.stream.{name}", unit, description)
            for field, name, unit, description in (
                ("deltas", "deltas", "{delta}", "Pieces of text, such as tokens, that were written."),
                ("appends", "appends", "{append}", "Appends that were handed to the channel."),
                ("merged", "merged", "{delta}", "Pieces of text that went as part of another one's append."),
                ("refused", "refused", "{append}", "Appends that the channel refused."),
                (
                    "recovered",
                    "repaired",
                    "{stream}",
                    "Repairs of a stream by an update with its whole text.",
                ),
            )
        }
        self._publishes = {
            field: meter.create_counter(f"{NAME}.publish.{field}", unit, description)
            for field, unit, description in (
                ("merged", "{append}", "Appends that left as part of an earlier one that had to wait."),
                (
                    "refused",
                    "{message}",
                    "Publishes that the server refused for rate, and that are repeated.",
                ),
            )
        }

    def note_first_token(self, seconds: float, role: str) -> None:
        """Record how long the first text took.

        Args:
            seconds: The time.
            role: ``agent`` or ``client``.
        """
        self.first_token.record(seconds, {f"{NAME}.role": role})

    def count_streams(self, total: EncoderStats) -> None:
        """Add the counters of encoders that are done."""
        for field, counter in self._streams.items():
            if amount := getattr(total, field):
                counter.add(amount)

    def count_publishes(self, now: PublishStats, before: PublishStats) -> None:
        """Add what a session's counters have grown by."""
        for field, counter in self._publishes.items():
            if amount := getattr(now, field) - getattr(before, field):
                counter.add(amount)


def total_of(stats: Iterable[EncoderStats]) -> EncoderStats:
    """Sum up the counters of several encoders; the first text is the earliest one."""
    total = EncoderStats()
    for one in stats:
        total.deltas += one.deltas
        total.appends += one.appends
        total.merged += one.merged
        total.refused += one.refused
        total.recovered += one.recovered
        total.max_in_flight = max(total.max_in_flight, one.max_in_flight)
        times = [time for time in (total.first_text_at, one.first_text_at) if time is not None]
        total.first_text_at = min(times, default=None)
    return total
