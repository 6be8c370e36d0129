"""Runs of one HAIP client, and what each of them is in its conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Generic

from ably_ai_transport import ClientRun
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.vocabulary import Sound


class RunState(StrEnum):
    """The states of a client's run. They decide what a further text of the client does."""

    NEW = "new"
    REQUESTED = "requested"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    OVER = "over"


@dataclass(slots=True)
class GatewayRun(Generic[InT, OutT, ProjT, MsgT]):
    """One run of a HAIP client.

    Attributes:
        id: The id that the client uses, a UUID.
        thread_id: The thread of the run.
        wishes: The ``ait`` object of the run's metadata: ``regenerate``, ``fork_of``, ``parent``.
        asked: The run in the conversation; None before the client has sent a message.
        sounds: Audio that waits for the next text.
        is_finished: Whether the client has finished the run. It sends no more messages in it.
    """

    id: str
    thread_id: str
    wishes: Mapping[str, Any]
    asked: ClientRun[InT, OutT, ProjT, MsgT] | None = None
    sounds: list[Sound] = field(default_factory=list[Sound])
    is_finished: bool = False

    @property
    def state(self) -> RunState:
        """The state of the run."""
        if self.is_finished:
            return RunState.OVER
        if self.asked is None:
            return RunState.NEW
        if not self.asked.started.is_settled:
            return RunState.REQUESTED
        return _STATES.get(self.asked.status, RunState.OVER)


_STATES: Final[Mapping[str | None, RunState]] = {
    "active": RunState.ACTIVE,
    "suspended": RunState.SUSPENDED,
}


class ClientRuns(Generic[InT, OutT, ProjT, MsgT]):
    """The runs and the messages of one HAIP client, in all of its threads."""

    def __init__(self) -> None:
        self._runs: dict[str, GatewayRun[InT, OutT, ProjT, MsgT]] = {}
        self._given_up: list[ClientRun[InT, OutT, ProjT, MsgT]] = []
        self._messages: set[str] = set()

    def add(self, run: GatewayRun[InT, OutT, ProjT, MsgT]) -> None:
        """Add a run."""
        self._runs[run.id] = run

    def get(self, run_id: str) -> GatewayRun[InT, OutT, ProjT, MsgT] | None:
        """Return a run by the client's id; None for a run of another participant."""
        return self._runs.get(run_id)

    def forget(self, run_id: str) -> None:
        """Forget a run that could not start."""
        self._runs.pop(run_id, None)

    def give_up(self, run: GatewayRun[InT, OutT, ProjT, MsgT]) -> None:
        """Forget a run that has ended for the client, although an agent may still take it up.

        Whatever comes of it in the conversation is then a run of another participant.
        """
        self._runs.pop(run.id, None)
        if run.asked is not None:
            self._given_up.append(run.asked)

    def is_given_up(self, native_id: str) -> bool:
        """Tell whether a run of the conversation is one that the client has given up."""
        return any(asked.run_id == native_id for asked in self._given_up)

    def name_of(self, native_id: str) -> str | None:
        """Return the client's id of a run of the conversation; None for a run of another participant."""
        for run in self._runs.values():
            if run.asked is not None and run.asked.run_id == native_id:
                return run.id
        return None

    def add_message(self, message_id: str) -> None:
        """Note a message of the client."""
        self._messages.add(message_id)

    def is_own_message(self, message_id: str) -> bool:
        """Tell whether the client itself sent a message."""
        return message_id in self._messages
