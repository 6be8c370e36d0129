"""Lifecycle tracker: events that must precede content, made up for those who join too late to see them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class LifecyclePhase(Generic[EventT_co]):
    """One phase that must have begun before content, such as a message's start.

    Attributes:
        key: Names the phase.
        build: Makes the phase's events up, from what the codec knows where it needs them.
    """

    key: str
    build: Callable[[Mapping[str, str | None]], Sequence[EventT_co]]


class LifecycleTracker(Generic[EventT]):
    """Remembers which phases have begun, for each scope (a run, usually) on its own.

    Args:
        phases: The phases, in the order in which they begin.

    Example:
        >>> tracker = LifecycleTracker([LifecyclePhase("start", lambda context: [f"start {context['id']}"])])
        >>> tracker.ensure_phases("run-1", {"id": "m1"})
        ['start m1']
        >>> tracker.ensure_phases("run-1", {"id": "m1"})
        []
    """

    def __init__(self, phases: Sequence[LifecyclePhase[EventT]]) -> None:
        self._phases = tuple(phases)
        self._begun: dict[str, set[str]] = {}

    def ensure_phases(self, scope: str, context: Mapping[str, str | None]) -> list[EventT]:
        """Begin the phases of a scope that have not begun.

        Args:
            scope: The scope.
            context: Handed to the builders as it is.

        Returns:
            The made-up events of those phases, in order; empty where all have begun.
        """
        begun = self._begun.setdefault(scope, set())
        events: list[EventT] = []
        for phase in self._phases:
            if phase.key not in begun:
                begun.add(phase.key)
                events.extend(phase.build(context))
        return events

    def mark_emitted(self, scope: str, key: str) -> None:
        """Note that a phase began by its own event.

        Args:
            scope: The scope.
            key: The phase.
        """
        self._begun.setdefault(scope, set()).add(key)

    def reset_phase(self, scope: str, key: str) -> None:
        """Note that a repeating phase ended: it has to begin again before more content.

        Args:
            scope: The scope.
            key: The phase.
        """
        begun = self._begun.get(scope)
        if begun is not None:
            begun.discard(key)

    def clear_scope(self, scope: str) -> None:
        """Forget a scope.

        Args:
            scope: The scope.
        """
        self._begun.pop(scope, None)
