"""Which attempt of each step counts.

A step that is tried again publishes a new ``ai-step-start`` under the same step id. The attempt whose
start has the greatest serial is the canonical one; what the others put out is superseded and not shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ably_ai_transport.conversation.nodes import StepInfo
from ably_ai_transport.wire import StepEnd, StepEndReason, StepStart

StepStatus: TypeAlias = Literal["active"] | StepEndReason

TRANSITIONS: Final[Mapping[tuple[StepStatus, Literal["attempt"] | StepEndReason], StepStatus]] = (
    MappingProxyType(
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
)
"""What an event does to a step: another attempt begins, or the attempt that counts ends.

The end of an attempt that counts no more changes nothing.
"""


@dataclass(slots=True, eq=False)
class _Step:
    started: bool = False
    canonical: str | None = None
    client_id: str | None = None
    attempts: set[str] = field(default_factory=set[str])
    ended: dict[str, StepEndReason] = field(default_factory=dict[str, StepEndReason])

    @property
    def status(self) -> StepStatus:
        reason = None if self.canonical is None or not self.started else self.ended.get(self.canonical)
        return "active" if reason is None else TRANSITIONS["active", reason]


class StepLedger:
    """The steps of one run: attempts, their ends, and who published which message."""

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
        """Tell whether a message was published by an attempt that no longer counts."""
        attributed = self._attribution.get(serial)
        if attributed is None:
            return False
        step_id, step_start_serial = attributed
        step = self._steps.get(step_id)
        return step is not None and step.canonical is not None and step.canonical != step_start_serial

    def start(self, event: StepStart) -> bool:
        """Take in the start of an attempt.

        Returns:
            Whether it supersedes output that another attempt has published.
        """
        step = self._steps.setdefault(event.step_id, _Step())
        if event.serial is not None:
            step.attempts.add(event.serial)
        canonical = (
            not step.started
            or (event.serial is not None and step.canonical is None)
            or (event.serial is not None and step.canonical is not None and event.serial > step.canonical)
        )
        step.started = True
        if not canonical:
            return False
        step.canonical = event.serial
        step.client_id = event.step_client_id
        return any(serial != event.serial for serial in self._attempts_with_output.get(event.step_id, ()))

    def end(self, event: StepEnd) -> None:
        """Take in the end of an attempt."""
        step = self._steps.setdefault(event.step_id, _Step())
        step.attempts.add(event.step_start_serial)
        step.ended[event.step_start_serial] = event.reason

    @property
    def has_open_step(self) -> bool:
        """Whether a step was started whose canonical attempt has not ended."""
        return any(step.started and step.status == "active" for step in self._steps.values())

    def summary(self) -> tuple[StepInfo, ...]:
        """Describe the steps, in the order of their first attempts."""
        in_order = sorted(self._steps.items(), key=lambda item: min(item[1].attempts, default=""))
        return tuple(
            StepInfo(
                step_id,
                step.status,
                len(step.attempts),
                step.client_id,
            )
            for step_id, step in in_order
        )
