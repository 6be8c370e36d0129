"""Openings: an invocation that arrives twice opens one run.

The start or resume of a run has a message id that is derived from the agent's client id and the event of its
input. The channel takes one message under an id for some minutes, so of two processes that serve the same
invocation at the same time one has its opening on the channel. Later on, a process sees the opening before
it publishes another one.

Anybody can derive such an id, and use it first, so that the channel drops the agent's opening. In a session
with trusted agents the ids therefore end at random. Both processes have an opening on the channel then, and
the earliest one of a trusted agent counts.
"""

import uuid
from typing import Final, Generic, NamedTuple

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import RunNode
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.wire import (
    DuplicateInvocationError,
    InboundMessage,
    NotFoundInTimeError,
    SessionClosedError,
    names,
)

_NAMESPACE: Final = uuid.UUID("6f1d0e0c-6a53-5f0e-9f53-2d1f0b7a1c55")
_SUFFIX: Final = ":open"
_SEPARATOR: Final = "/"
_ECHO_SECONDS: Final = 5.0
"""The time in which a run that is given up must learn whether it is its own."""


def run_id_for(client_id: str | None, event_id: str) -> str:
    """Derive the id of the run with which an agent answers an input event."""
    return str(uuid.uuid5(_NAMESPACE, f"{client_id or ''}/{event_id}"))


class Opening(NamedTuple):
    """A start or resume on the channel.

    Attributes:
        serial: Its place on the channel.
        run_id: The run.
        invocation_id: The invocation that published it.
    """

    serial: str
    run_id: str
    invocation_id: str


class Openings:
    """The openings that the channel has brought, by their keys; the earliest of each."""

    def __init__(self) -> None:
        self._first: dict[str, Opening] = {}
        self._keys: dict[str, str] = {}
        self._seen = anyio.Event()
        self._closed = False

    def on_message(self, message: InboundMessage) -> None:
        """Note a message if it is an opening."""
        if message.name not in (names.RUN_START, names.RUN_RESUME) or message.serial is None:
            return
        base = (message.id or "").rpartition(":")[0]
        if not base.endswith(_SUFFIX):
            return
        key = base.removesuffix(_SUFFIX).partition(_SEPARATOR)[0]
        headers = message.transport_headers
        opening = Opening(message.serial, headers.get(names.RUN_ID, ""), headers.get(names.INVOCATION_ID, ""))
        self._keys[message.serial] = key
        known = self._first.get(key)
        if known is None or opening.serial < known.serial:
            self._first[key] = opening
        self._wake()

    def find(self, key: str) -> Opening | None:
        """Return the earliest opening with a key."""
        return self._first.get(key)

    def key_of(self, serial: str | None) -> str | None:
        """Return the key of the opening with a serial."""
        return None if serial is None else self._keys.get(serial)

    async def wait(self, key: str) -> Opening:
        """Wait until the channel has brought an opening with a key.

        Raises:
            SessionClosedError: The session was closed (104004).
        """
        while (found := self._first.get(key)) is None:
            if self._closed:
                raise SessionClosedError("unable to start run; session closed")
            await self._seen.wait()
        return found

    def close(self) -> None:
        """End all waits."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._seen.set()
        self._seen = anyio.Event()


class RunOpening(Generic[InT, OutT, ProjT, MsgT]):
    """The opening of one run.

    Args:
        core: The session's parts.
        facts: The run, and the invocation of this agent.
        openings: The openings of the session.
        key: The run id that is derived from the input event; None where the application chose the run's id.
            Such a run may be opened any number of times.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        facts: RunFacts,
        openings: Openings,
        key: str | None,
    ) -> None:
        self._core = core
        self._facts = facts
        self._openings = openings
        self._key = key
        ending = f"{_SEPARATOR}{uuid.uuid4()}" if core.has_trusted_agents else ""
        self.message_id = None if key is None else f"{key}{ending}{_SUFFIX}"

    def check(self) -> None:
        """Refuse to open a run for an invocation that is served already.

        Raises:
            DuplicateInvocationError: It is (104052).
        """
        if self._key is None:
            return
        opening = self._openings.find(self._key)
        if opening is not None:
            self._compare(opening.run_id, opening.invocation_id)
        for node in self._core.conversation.tree.index:
            if isinstance(node, RunNode) and self._answers(node):
                self._compare(node.run_id, node.invocation_id)

    async def confirm(self, timeout: float | None) -> None:  # noqa: ASYNC109
        """Wait until the opening has come back from the channel, and check that it is this agent's.

        Args:
            timeout: How long to wait, in seconds; None waits for ever.

        Raises:
            DuplicateInvocationError: It is that of another invocation (104052).
            NotFoundInTimeError: It did not come back in time (104010).
            SessionClosedError: The session was closed (104004).
        """
        if self._key is None:
            return
        opening: Opening | None = None
        with anyio.move_on_after(timeout):
            opening = await self._openings.wait(self._key)
        if opening is None:
            raise NotFoundInTimeError(
                f"unable to start run; the start of run {self._facts.run_id} did not come back from channel"
                f" {self._core.channel.name} within {timeout} s (does the client receive its own messages?)"
            )
        self._compare(opening.run_id, opening.invocation_id)

    async def is_own(self) -> bool:
        """Tell whether the run on the channel is this agent's; False where that is not known in time."""
        if self._key is None:
            return True
        with anyio.move_on_after(_ECHO_SECONDS):
            opening = await self._openings.wait(self._key)
            return opening.invocation_id == self._facts.invocation_id
        return False

    def is_copy(self, serial: str | None) -> bool:
        """Tell whether a claim is another copy of this opening, whose publisher steps back."""
        return self._key is not None and self._openings.key_of(serial) == self._key

    def _answers(self, node: RunNode[ProjT]) -> bool:
        """Tell whether a run is this agent's answer to the input, under any id."""
        facts = self._facts
        return (
            not facts.continues
            and facts.regenerates is None
            and node.started_at is not None
            and node.input_codec_message_id == facts.input_codec_message_id
            and node.agent_client_id == self._core.client_id
        )

    def _compare(self, run_id: str, invocation_id: str) -> None:
        if invocation_id != self._facts.invocation_id:
            raise DuplicateInvocationError(
                f"unable to start run; invocation {invocation_id} serves the input already, in run {run_id}"
                " (to answer the input once more, pass a run_id of your own; to take the run over, adopt it)",
                run_id=run_id,
            )
