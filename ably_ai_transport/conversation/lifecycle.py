"""The lives of runs and steps: two tables, and the code that they drive.

Events of one run may arrive in any order: history is read newest first, and two publishers may overtake
each other. The events are therefore kept in channel order, and the tables say where they lead.
"""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ably_ai_transport.wire import (
    AITransportError,
    RunEnd,
    RunEndReason,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    RunSuspend,
    StepEnd,
    StepEndReason,
    StepStart,
)

RunStatus: TypeAlias = Literal["active", "suspended", "complete", "cancelled", "error"]
RunTrigger: TypeAlias = Literal["start", "suspend", "resume"] | RunEndReason
StepStatus: TypeAlias = Literal["active"] | StepEndReason
StepTrigger: TypeAlias = Literal["attempt"] | StepEndReason

RUN_TRANSITIONS: Final[Mapping[tuple[RunStatus, RunTrigger], RunStatus]] = MappingProxyType(
    {
        ("active", "suspend"): "suspended",
        ("active", "complete"): "complete",
        ("active", "cancelled"): "cancelled",
        ("active", "error"): "error",
        ("suspended", "start"): "active",
        ("suspended", "resume"): "active",
        ("suspended", "complete"): "complete",
        ("suspended", "cancelled"): "cancelled",
        ("suspended", "error"): "error",
    }
)
"""The effect of an event on a run. A pair that is not listed changes nothing: a run ends once."""

STEP_TRANSITIONS: Final[Mapping[tuple[StepStatus, StepTrigger], StepStatus]] = MappingProxyType(
    {
        ("active", "complete"): "complete",
        ("active", "failed"): "failed",
        ("active", "cancelled"): "cancelled",
        ("active", "attempt"): "active",
        ("complete", "attempt"): "active",
        ("failed", "attempt"): "active",
        ("cancelled", "attempt"): "active",
    }
)
"""The effect of an event on a step, attempt by attempt in channel order: it begins, then it ends."""

TERMINAL: Final[frozenset[RunStatus]] = frozenset(RUN_TRANSITIONS.values()) - {
    status for status, _ in RUN_TRANSITIONS
}
"""The statuses of a run that has ended: the table leads nowhere from them."""


@dataclass(frozen=True, slots=True)
class RunStanding:
    """The status that the events of a run lead to.

    Attributes:
        status: The status.
        end_serial: Serial of the suspend or end that led there; None where none did.
        error: Why the run failed; set exactly when ``status`` is ``error``.
        resumed_by: The invocation that last resumed the run.
        ended_at: When the server took the end, in milliseconds since the epoch; None where none led there.
        end_message: Why the run ended, in words; None where nobody said so.
    """

    status: RunStatus
    end_serial: str | None
    error: AITransportError | None
    resumed_by: str | None
    ended_at: int | None
    end_message: str | None


RunClaim: TypeAlias = RunStart | RunResume | StepStart
"""An event that says which invocation works on a run. The newest one on the channel counts."""


class RunLife:
    """The lifecycle events of one run, in channel order."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: list[RunLifecycleEvent] = []

    def add(self, event: RunLifecycleEvent) -> bool:
        """Take in an event.

        Args:
            event: The event. Without a serial it is a preview, which its echo from the channel replaces.

        Returns:
            Whether it is new.
        """
        serial = event.serial
        for i, known in enumerate(self._events):
            if known.serial == serial or (known.serial is None and known.type == event.type):
                if known.serial is not None or serial is None:
                    return False
                del self._events[i]
                break
        insort(self._events, event, key=_place)
        return True

    @property
    def events(self) -> Sequence[RunLifecycleEvent]:
        """The events so far."""
        return self._events

    @property
    def standing(self) -> RunStanding:
        """The status that the events lead to."""
        status: RunStatus = "active"
        decisive: RunEnd | RunSuspend | None = None
        resumed_by: str | None = None
        for event in self._events:
            if isinstance(event, RunResume) and event.invocation_id:
                resumed_by = event.invocation_id
            if _is_retired(event, resumed_by):
                continue
            reached = RUN_TRANSITIONS.get((status, run_trigger(event)))
            if reached is not None:
                status = reached
                if isinstance(event, RunEnd | RunSuspend):
                    decisive = event
        return RunStanding(
            status,
            None if decisive is None else decisive.serial,
            decisive.error if isinstance(decisive, RunEnd) and status == "error" else None,
            resumed_by,
            decisive.timestamp if isinstance(decisive, RunEnd) else None,
            decisive.message if isinstance(decisive, RunEnd) else None,
        )


def run_trigger(event: RunLifecycleEvent) -> RunTrigger:
    """Return the trigger of the table that an event stands for."""
    return event.reason if isinstance(event, RunEnd) else event.type


def _is_retired(event: RunLifecycleEvent, resumed_by: str | None) -> bool:
    """Tell whether an event suspends an invocation that another one has replaced."""
    return (
        isinstance(event, RunSuspend)
        and resumed_by is not None
        and event.invocation_id not in ("", resumed_by)
    )


def _place(event: RunLifecycleEvent) -> str:
    return event.serial or ""


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step of a run.

    Attributes:
        step_id: The step; the same on each attempt.
        status: The status of the latest attempt; ``active`` until its end is seen.
        attempt_count: The number of attempts that have been seen.
        step_client_id: The client whose input shaped the latest attempt; None while no start has been seen.
    """

    step_id: str
    status: StepStatus
    attempt_count: int
    step_client_id: str | None


@dataclass(slots=True, eq=False)
class _Step:
    """The attempts of one step, by the serials of their starts."""

    started: bool = False
    canonical: str | None = None
    client_id: str | None = None
    seen: set[str] = field(default_factory=set[str])
    starts: list[str] = field(default_factory=list[str])
    ends: dict[str, StepEnd] = field(default_factory=dict[str, StepEnd])

    @property
    def status(self) -> StepStatus:
        status: StepStatus = "active"
        for attempt in self.starts:
            status = STEP_TRANSITIONS[status, "attempt"]
            end = self.ends.get(attempt)
            if end is not None:
                status = STEP_TRANSITIONS.get((status, end.reason), status)
        return status


class StepLedger:
    """The steps of one run: their attempts, and which attempt published which message.

    A retried step publishes a new ``ai-step-start`` under the same step id. The attempt whose
    start has the greatest serial is the *canonical* one. The output of the others is *superseded*: it is
    logged and not shown.
    """

    __slots__ = ("_attempts_with_output", "_attribution", "_steps")

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._attribution: dict[str, tuple[str, str]] = {}
        self._attempts_with_output: dict[str, set[str]] = {}

    def attribute(self, serial: str, step_id: str, step_start_serial: str) -> None:
        """Note which attempt published a message."""
        self._attribution[serial] = (step_id, step_start_serial)
        self._attempts_with_output.setdefault(step_id, set()).add(step_start_serial)

    def is_superseded(self, serial: str) -> bool:
        """Tell whether a message was published by an attempt that is not canonical."""
        attributed = self._attribution.get(serial)
        if attributed is None:
            return False
        step_id, step_start_serial = attributed
        step = self._steps.get(step_id)
        return step is not None and step.canonical is not None and step.canonical != step_start_serial

    def start(self, event: StepStart) -> bool:
        """Take in the start of an attempt.

        Args:
            event: The start; without a serial it is a preview.

        Returns:
            Whether it supersedes output that another attempt has published.
        """
        step = self._steps.setdefault(event.step_id, _Step())
        serial = event.serial
        if serial is not None and serial not in step.starts:
            step.seen.add(serial)
            insort(step.starts, serial)
        if step.started and (serial is None or serial <= (step.canonical or "")):
            return False
        step.started = True
        step.canonical = serial
        step.client_id = event.step_client_id
        return any(attempt != serial for attempt in self._attempts_with_output.get(event.step_id, ()))

    def end(self, event: StepEnd) -> None:
        """Take in the end of an attempt; of two ends of one attempt, the later one on the channel counts."""
        step = self._steps.setdefault(event.step_id, _Step())
        attempt = event.step_start_serial
        step.seen.add(attempt)
        known = step.ends.get(attempt)
        if known is None or (known.serial or "") <= (event.serial or ""):
            step.ends[attempt] = event

    @property
    def has_open_step(self) -> bool:
        """Whether the canonical attempt of a step has started and not ended."""
        return any(step.started and step.status == "active" for step in self._steps.values())

    def summary(self) -> tuple[StepInfo, ...]:
        """Describe the steps, in the order of their first attempts."""
        in_order = sorted(self._steps.items(), key=lambda item: min(item[1].seen, default=""))
        return tuple(
            StepInfo(step_id, step.status, len(step.seen), step.client_id) for step_id, step in in_order
        )
