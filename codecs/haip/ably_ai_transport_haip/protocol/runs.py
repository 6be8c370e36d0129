"""Runs that a side knows of."""

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
        id: Its id, a UUID.
        thread_id: The conversation that it belongs to.
        metadata: What was said when it began.
        status: Where it stands.
        start_time: When it began: seconds since 1970.
        end_time: When it ended.
        summary: What was said when it ended.
    """

    id: str
    thread_id: str | None = None
    metadata: Mapping[str, object] | None = None
    status: RunStatus = "RUNNING"
    start_time: float = 0.0
    end_time: float | None = None
    summary: str | None = None


class RunRegistry:
    """The runs of a session: those that are open, and the last hundred that ended.

    Args:
        limit: How many may be open at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._runs: dict[str, HaipRun] = {}

    @property
    def active(self) -> list[HaipRun]:
        """The runs that are open, oldest first."""
        return [run for run in self._runs.values() if run.status == "RUNNING"]

    def get(self, run_id: str) -> HaipRun | None:
        """Return a run, or None where it is not known."""
        return self._runs.get(run_id)

    def start(
        self,
        run_id: str,
        now: float,
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> bool:
        """Open a run.

        Args:
            run_id: Its id.
            now: The time.
            thread_id: Its conversation.
            metadata: What is said about it.

        Returns:
            Whether it is new.

        Raises:
            HaipProtocolError: As many are open as may be (RUN_LIMIT_EXCEEDED).
        """
        if run_id in self._runs:
            return False
        if len(self.active) >= self.limit:
            raise HaipProtocolError(
                f"unable to start run; {self.limit} are open (finish one, or raise max_concurrent_runs)",
                HaipErrorCode.RUN_LIMIT_EXCEEDED,
                {"limit": self.limit},
            )
        self._runs[run_id] = HaipRun(run_id, thread_id, metadata, start_time=now)
        return True

    def finish(
        self, run_id: str, now: float, status: FinishStatus = "OK", summary: str | None = None
    ) -> HaipRun | None:
        """Close a run. A run ends once.

        Args:
            run_id: The run.
            now: The time.
            status: How it ended.
            summary: What is said about it.

        Returns:
            The run; None where it is not known or has ended before.
        """
        run = self._runs.get(run_id)
        if run is None or run.status != "RUNNING":
            return None
        ended = self._runs[run_id] = replace(run, status=_STATUS[status], end_time=now, summary=summary)
        over = [old for old in self._runs.values() if old.status != "RUNNING"]
        for old in over[:-KEEP_ENDED]:
            del self._runs[old.id]
        return ended

    @property
    def newest_open(self) -> HaipRun | None:
        """The run that a message without a run belongs to (specification 1.1.2)."""
        return self.active[-1] if self.active else None
