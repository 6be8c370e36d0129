"""Lead-in: events that must precede content, made up for late joiners who did not see them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

from typing_extensions import TypeVar

from ably_ai_transport.codec.contract import Payload, StreamState
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import Headers

EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class LifecyclePhase(Generic[EventT_co]):
    """A phase that must begin before content, such as the start of a message.

    Attributes:
        key: Names the phase.
        build: Returns the phase's events, from the codec headers of the message that needs them.
    """

    key: str
    build: Callable[[Mapping[str, str | None]], Sequence[EventT_co]]


class LifecycleTracker(Generic[EventT]):
    """Remembers which phases have begun, per scope (usually a run).

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
            context: Passed to the builders.

        Returns:
            The made-up events of those phases, in order; empty if all have begun.
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


@dataclass(frozen=True)
class LeadIn(Generic[EventT]):
    """The events that must precede content. A decoder makes them up for late joiners.

    Attributes:
        phases: The phases, in order. Each is built from the codec headers of the message that needs it.
        marks: Row kinds that begin a phase, with the phase's key.
        resets: Row kinds after which a phase must begin again, with the phase's key.
        clears: Row kinds after which all phases must begin again.
        needed_by: Kinds of discrete rows that need the phases. Streams always do.
        before_stream: Returns further events for each stream, from its codec headers. They come even if they
            were seen before, so folding them twice must be harmless.
    """

    phases: tuple[LifecyclePhase[EventT], ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict[str, str])
    resets: Mapping[str, str] = field(default_factory=dict[str, str])
    clears: frozenset[str] = frozenset()
    needed_by: frozenset[str] = frozenset()
    before_stream: Callable[[Headers], Sequence[EventT]] | None = None


class LeadInRules(Generic[EventT]):
    """Applies a codec's :class:`LeadIn` to the messages of one decoder."""

    def __init__(self, lead_in: LeadIn[EventT]) -> None:
        self._lead_in = lead_in
        self._tracker = LifecycleTracker(lead_in.phases)
        self._made_up: dict[str, Sequence[EventT]] = {}

    def before_stream(self, stream: StreamState) -> Sequence[EventT]:
        """Return the events that a stream needs before its start. A rewrite needs the same again."""
        run_id = stream.transport_headers.get(names.RUN_ID, "")
        events = self._tracker.ensure_phases(run_id, stream.codec_headers)
        if self._lead_in.before_stream is not None:
            events.extend(self._lead_in.before_stream(stream.codec_headers))
        if not events:
            return self._made_up.get(stream.serial, ())
        self._made_up[stream.serial] = events
        return events

    def before_discrete(self, kind: str, payload: Payload) -> Sequence[EventT]:
        """Note the phases that a discrete message begins or ends, and return the events that it needs."""
        run_id = payload.transport_headers.get(names.RUN_ID, "")
        rules = self._lead_in
        if kind in rules.marks:
            self._tracker.mark_emitted(run_id, rules.marks[kind])
        if kind in rules.resets:
            self._tracker.reset_phase(run_id, rules.resets[kind])
        if kind in rules.clears:
            self._tracker.clear_scope(run_id)
        if kind in rules.needed_by:
            return self._tracker.ensure_phases(run_id, payload.codec_headers)
        return ()
