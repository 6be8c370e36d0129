"""Protocols of a scenario's participants, the same for both languages."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from integration_tests.js_process import Json


class Steer(Protocol):
    """A steering message on its way."""

    async def outcome(self) -> Json:
        """Wait until the run has ended and tell whether the agent took the message in."""
        ...


class Run(Protocol):
    """A run that a client asked for."""

    @property
    def invocation(self) -> Json:
        """The body for the agent's endpoint."""
        ...

    @property
    def input_codec_message_id(self) -> str:
        """The message that asked for it."""
        ...

    async def started(self) -> str:
        """Wait until the agent has started the run; return the run's id."""
        ...

    async def cancel(self) -> None:
        """Ask the agent to stop, whether or not the run has begun."""
        ...

    async def steer(self, text: str) -> Steer:
        """Send a message into the run."""
        ...

    async def state(self) -> Json:
        """Return run id, status, error and messages as the client sees them."""
        ...


class Client(Protocol):
    """A client session. Methods that take ``view`` mean the session's own view where it is None.

    Messages are ``{"codecMessageId": …, "message": …}`` as the JS package prints them; runs likewise.
    """

    label: str

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    async def send(
        self,
        text: str | None = None,
        *,
        message: Json | None = None,
        view: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Run:
        """Send a user's message, given as its text or as a whole UI message."""
        ...

    async def regenerate(self, message_id: str, *, view: str | None = None) -> Run:
        """Ask for another reply in place of an assistant's message."""
        ...

    async def edit(self, message_id: str, text: str, *, view: str | None = None) -> Run:
        """Replace a user's message."""
        ...

    async def answer_tool(self, run_id: str, tool_call_id: str, **answer: object) -> Run:
        """Answer a suspended run's tool call by a fork: ``output=…`` or ``errorMessage=…``."""
        ...

    async def resume_with_tool(
        self, run_id: str, message_id: str, tool_call_id: str, **answer: object
    ) -> Run:
        """Answer a suspended run's tool call so that the same run goes on."""
        ...

    async def resume_with(self, run_id: str, message_id: str, payload: Json) -> Run:
        """Answer a suspended run's tool call in the words of the codec."""
        ...

    async def approve_tool(
        self, run_id: str, message_id: str, tool_call_id: str, *, approved: bool, reason: str | None = None
    ) -> Run:
        """Approve or deny a suspended run's tool call."""
        ...

    async def cancel(self, run_id: str) -> None:
        """Cancel a run by its id."""
        ...

    async def messages(self, *, view: str | None = None) -> list[Json]:
        """Return the visible messages."""
        ...

    async def runs(self, *, view: str | None = None) -> list[Json]:
        """Return the visible runs."""
        ...

    async def show(self, *, view: str | None = None) -> Json:
        """Return the visible messages and runs, and whether there are older ones."""
        ...

    async def load_older(self, limit: int | None = None, *, view: str | None = None) -> list[Json]:
        """Reveal older messages and return them."""
        ...

    async def load_all(self, *, limit: int | None = None, view: str | None = None) -> list[Json]:
        """Reveal all older messages and return all that is visible then."""
        ...

    async def load_until(self, message_id: str, *, view: str | None = None) -> list[Json]:
        """Reveal what is newer than a message and return it."""
        ...

    async def wait_for(self, *, view: str | None = None, **wanted: object) -> None:
        """Wait until the view meets all conditions: ``messages``, ``runs``, ``settled``, ``text``, …"""
        ...

    async def branch(self, message_id: str, *, view: str | None = None) -> Json:
        """Return the siblings at a message."""
        ...

    async def select(self, message_id: str, index: int, *, view: str | None = None) -> None:
        """Select a sibling at a message."""
        ...

    async def new_view(self) -> str:
        """Create another view and return its name."""
        ...

    async def reported(self, code: int) -> None:
        """Wait until the session has reported an error with this code."""
        ...


class Serving(Protocol):
    """An invocation that an agent is serving."""

    async def result(self) -> Json:
        """Wait until the program has been played; return what became of the run."""
        ...


class Agent(Protocol):
    """An agent. The steps of programs and the items of scripts are those of ``js/agent.mjs``."""

    client_id: str

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    async def start_serving(
        self, invocation: Mapping[str, str], program: Sequence[Json], **how: object
    ) -> Serving:
        """Begin to serve an invocation."""
        ...

    async def serve(self, invocation: Mapping[str, str], script: Iterable[Json], **how: object) -> Json:
        """Answer an invocation with a script and wait until that is done."""
        ...

    async def open_session(self, channel: str) -> str:
        """Open a session that serves several invocations; pass its name as ``session``."""
        ...

    async def close_session(self, name: str, how: str = "end") -> None:
        """End or detach a session."""
        ...

    async def open(self, gate: str) -> None:
        """Open a gate of a script."""
        ...

    async def at_gate(self, gate: str) -> None:
        """Wait until a script waits at a gate."""
        ...

    async def refused(self) -> None:
        """Wait until a cancel has been refused."""
        ...

    async def heard_cancel(self) -> None:
        """Wait until an open session has heard a request to cancel."""
        ...

    async def steered(self) -> None:
        """Wait until a run has been sent a message."""
        ...
