"""Runs of one HAIP client, and what each of them is in its conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic

from ably_ai_transport import ClientRun
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport_haip.gateway.vocabulary import Sound


class RunState(StrEnum):
    """The states of a client's run. They decide what a further text of the client does."""

    NEW = "new"
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
    """

    id: str
    thread_id: str
    wishes: Mapping[str, Any]
    asked: ClientRun[InT, OutT, ProjT, MsgT] | None = None
    sounds: list[Sound] = field(default_factory=list[Sound])

    @property
    def state(self) -> RunState:
        """The state of the run."""
        if self.asked is None:
            return RunState.NEW
        if not self.asked.started.is_settled or self.asked.status == "active":
            return RunState.ACTIVE
        return RunState.SUSPENDED if self.asked.status == "suspended" else RunState.OVER


class ClientRuns(Generic[InT, OutT, ProjT, MsgT]):
    """The runs and the messages of one HAIP client, in all of its threads."""

    def __init__(self) -> None:
        self._runs: dict[str, GatewayRun[InT, OutT, ProjT, MsgT]] = {}
        self._messages: set[str] = set()

    def add(self, run: GatewayRun[InT, OutT, ProjT, MsgT]) -> None:
        """Add a run."""
        self._runs[run.id] = run

    def get(self, run_id: str) -> GatewayRun[InT, OutT, ProjT, MsgT] | None:
        """Return a run by the client's id; None for a run of another participant."""
        return self._runs.get(run_id)

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
