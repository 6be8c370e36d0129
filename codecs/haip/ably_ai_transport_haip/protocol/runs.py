"""Runs: their states and the registry of one session."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError

RunStatus: TypeAlias = Literal["RUNNING", "FINISHED", "CANCELLED", "ERROR"]
FinishStatus: TypeAlias = Literal["OK", "CANCELLED", "ERROR"]

KEEP_ENDED: Final = 100

_STATUS: Final[Mapping[FinishStatus, RunStatus]] = {
    "OK": "FINISHED",
    "CANCELLED": "CANCELLED",
    "ERROR": "ERROR",
}


@dataclass(frozen=True, slots=True)
class HaipRun:
    """A run.

    Attributes:
        id: The id, a UUID.
        thread_id: The thread of the run.
        metadata: The metadata from its start; any JSON object.
        status: The status.
        start_time: The start: seconds since 1970.
        end_time: The end: seconds since 1970; None while the run is open.
        summary: The summary from its end.
    """

    id: str
    thread_id: str | None = None
    metadata: Mapping[str, object] | None = None
    status: RunStatus = "RUNNING"
    start_time: float = 0.0
    end_time: float | None = None
    summary: str | None = None


class RunRegistry:
    """The open runs of a session, and the last 100 that ended.

    Args:
        limit: The largest number of open runs.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._runs: dict[str, HaipRun] = {}

    @property
    def active(self) -> list[HaipRun]:
        """The open runs, oldest first."""
        return [run for run in self._runs.values() if run.status == "RUNNING"]

    def get(self, run_id: str) -> HaipRun | None:
        """Return a run; None for an unknown id."""
        return self._runs.get(run_id)

    def start(
        self,
        run_id: str,
        now: float,
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> bool:
        """Register the start of a run.

        Args:
            run_id: The run.
            now: The current time: seconds since 1970.
            thread_id: The thread of the run.
            metadata: The metadata of the run.

        Returns:
            Whether the run is new.

        Raises:
            HaipProtocolError: Too many runs are open (RUN_LIMIT_EXCEEDED).
        """
        if run_id in self._runs:
            return False
        if len(self.active) >= self.limit:
            raise HaipProtocolError(
                f"unable to start run; {self.limit} runs are open (finish one, or raise max_concurrent_runs)",
                HaipErrorCode.RUN_LIMIT_EXCEEDED,
                {"limit": self.limit},
            )
        self._runs[run_id] = HaipRun(run_id, thread_id, metadata, start_time=now)
        return True

    def finish(
        self, run_id: str, now: float, status: FinishStatus = "OK", summary: str | None = None
    ) -> HaipRun | None:
        """Register the end of a run. A run ends once.

        Args:
            run_id: The run.
            now: The current time: seconds since 1970.
            status: The final status.
            summary: The summary.

        Returns:
            The run; None if it is unknown or has already ended.
        """
        run = self._runs.get(run_id)
        if run is None or run.status != "RUNNING":
            return None
        ended = self._runs[run_id] = replace(run, status=_STATUS[status], end_time=now, summary=summary)
        over = [old for old in self._runs.values() if old.status != "RUNNING"]
        for old in over[:-KEEP_ENDED]:
            del self._runs[old.id]
        return ended

    def newest_open(self, thread_id: str | None = None) -> HaipRun | None:
        """Return the newest open run: messages without a run id belong to it (specification 1.1.2).

        Args:
            thread_id: The thread of the message; None for any.

        Returns:
            The run; None if there is none, or none on the thread.
        """
        active = (run for run in reversed(self.active) if thread_id in (None, run.thread_id))
        return next(active, None)
