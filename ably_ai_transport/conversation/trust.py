"""Trusted agents: whose outputs count, and which inputs of others may stand beside them.

Anybody who may publish on a channel may publish any name and any header there. A filter before the tree
leaves out what only an agent may publish, where its verified publisher is no trusted agent.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from ably_ai_transport.conversation.authors import USER_MESSAGE
from ably_ai_transport.wire import (
    Headers,
    InboundMessage,
    InvalidArgumentError,
    MessageAction,
    NotAllowedError,
    names,
)
from ably_ai_transport.wire.listeners import is_async

TrustedAgents: TypeAlias = Collection[str] | Callable[[str | None, InboundMessage], bool]
"""The client ids of the agents, or a plain function of a verified client id and its message."""

_MAX_HELD: Final = 1000
_NO_EDITOR: Final = frozenset({MessageAction.CREATE, MessageAction.META, MessageAction.SUMMARY})
"""The actions that no other client than the publisher can have caused."""
_AGENT_HEADERS: Final = frozenset(
    {
        names.INVOCATION_ID,
        names.INPUT_CODEC_MESSAGE_ID,
        names.STEP_ID,
        names.STEP_START_SERIAL,
        names.STEER_CODEC_MESSAGE_IDS,
    }
)
"""The headers that only agents write; on an input they could join it to another's run."""


class Received(NamedTuple):
    """A message on its way into a conversation.

    Attributes:
        message: The message.
        live: Whether the channel delivered it now, and not history.
    """

    message: InboundMessage
    live: bool


class TrustFilter:
    """Leaves out of a conversation what is not from a trusted agent.

    Outputs, and the events of runs and steps, need a trusted publisher. Each later version of them needs a
    trusted editor. An input may come from anybody, as long as it does not claim to be an agent's. An input
    into a run waits until a trusted agent has published something of the run. A fork, which brings a copy of
    an agent's words, waits until a trusted agent takes it up.

    Args:
        trusted: The trusted agents.
        own: Returns the client id of an agent's own session, which is trusted; None for a client's session.
        on_refused: Called with each refusal.

    Raises:
        InvalidArgumentError: ``trusted`` is neither a collection of client ids nor a plain function (40003).
    """

    def __init__(
        self,
        trusted: TrustedAgents,
        *,
        own: Callable[[], str | None] | None,
        on_refused: Callable[[NotAllowedError], None],
    ) -> None:
        self._client_ids, self._predicate = _check(trusted)
        self._own = own
        self._on_refused = on_refused
        self._known: set[str] = set()
        self._held: OrderedDict[str, list[Received]] = OrderedDict()
        self._held_count = 0

    def admit(self, received: Received) -> Sequence[Received]:
        """Look at a message before the conversation takes it in.

        Args:
            received: The message.

        Returns:
            The messages to take in now, in this order: none for one that is refused or has to wait, and more
            than one where others waited for it.
        """
        message = received.message
        if not message.has_ai_envelope or (message.name == names.CANCEL and not message.codec_headers):
            return (received,)
        if message.name == names.AI_INPUT:
            return self._admit_input(received)
        strangers = self._strangers(message)
        if strangers:
            self._refuse(message, strangers[0], "is no trusted agent")
            return ()
        return (received,) if message.action is MessageAction.APPEND else self._take_up(received)

    def flush(self, *, exhausted: bool) -> Sequence[Received]:
        """Do nothing: an entry is freed with the message that it waits for."""
        return ()

    def _admit_input(self, received: Received) -> Sequence[Received]:
        message, headers = received.message, received.message.transport_headers
        author = message.client_id
        strangers = self._strangers(message)
        if not strangers:
            return (received,)
        if strangers[-1] != author:
            self._refuse(message, strangers[-1], "is neither the author of the message nor a trusted agent")
            return ()
        role = headers.get(names.ROLE, "user")
        kind = message.codec_headers.get("kind") or message.codec_headers.get("type")
        run_id = headers.get(names.RUN_ID)
        speaks_as_agent = role != "user" and (kind == USER_MESSAGE or not _is_answer(run_id, headers))
        if speaks_as_agent or not _AGENT_HEADERS.isdisjoint(headers):
            self._refuse(message, author, "is no trusted agent, and marked an input as an agent's")
            return ()
        if run_id is not None:
            return self._wait_for(run_id, received)
        # The agent of this session has to see a fork to take it up, and no fork reaches another branch.
        if role != "user" and self._own is None:
            return self._wait_for(headers.get(names.CODEC_MESSAGE_ID, ""), received)
        return (received,)

    def _wait_for(self, anchor: str, received: Received) -> Sequence[Received]:
        if anchor in self._known:
            return (received,)
        if self._held_count == _MAX_HELD:
            _, dropped = self._held.popitem(last=False)
            self._held_count -= len(dropped)
            message = dropped[0].message
            self._refuse(message, message.client_id, "published inputs for a run that no agent started")
        self._held.setdefault(anchor, []).append(received)
        self._held_count += 1
        return ()

    def _take_up(self, received: Received) -> Sequence[Received]:
        headers = received.message.transport_headers
        released: list[Received] = [received]
        anchors = [headers.get(names.RUN_ID)]
        if received.message.name in names.RUN_LIFECYCLE:
            anchors.append(headers.get(names.INPUT_CODEC_MESSAGE_ID))
        for anchor in anchors:
            if anchor is not None and anchor not in self._known:
                self._known.add(anchor)
                held = self._held.pop(anchor, [])
                self._held_count -= len(held)
                released.extend(held)
        return released

    def _strangers(self, message: InboundMessage) -> Sequence[str | None]:
        """List who is not trusted: the publisher of a message, the editor of its version, or both."""
        author, editor = message.client_id, message.version_client_id
        strangers = () if self._trusts(author, message) else (author,)
        if editor == author or message.action in _NO_EDITOR or self._trusts(editor, message):
            return strangers
        return (*strangers, editor)

    def _trusts(self, client_id: str | None, message: InboundMessage) -> bool:
        if self._client_ids is not None and client_id in self._client_ids:
            return True
        if self._own is not None and client_id is not None and client_id == self._own():
            return True
        if self._predicate is None:
            return False
        try:
            return self._predicate(client_id, message) is True
        except Exception as error:  # noqa: BLE001 - a user's code
            self._refuse(message, client_id, "could not be judged, because trusted_agents raised", error)
            return False

    def _refuse(
        self, message: InboundMessage, client_id: str | None, reason: str, cause: Exception | None = None
    ) -> None:
        who = "an anonymous client" if client_id is None else f"client {client_id!r}"
        self._on_refused(
            NotAllowedError(
                f"unable to take in {message.name or 'message'}; {who} {reason}",
                cause=cause,
                client_id=client_id,
            )
        )


def _is_answer(run_id: str | None, headers: Headers) -> bool:
    """Tell whether an input goes into a run, or forks one to answer a call of it."""
    return run_id is not None or names.SUPERSEDES in headers


def _check(
    trusted: object,
) -> tuple[frozenset[str] | None, Callable[[str | None, InboundMessage], bool] | None]:
    if callable(trusted):
        if is_async(trusted):
            raise InvalidArgumentError("unable to open session; trusted_agents must be a plain function")
        return None, cast("Callable[[str | None, InboundMessage], bool]", trusted)
    ids: list[object] = []
    if isinstance(trusted, Collection) and not isinstance(trusted, str | bytes):
        ids = list(cast("Collection[object]", trusted))
    if not ids or not all(isinstance(client_id, str) and client_id not in ("", "*") for client_id in ids):
        raise InvalidArgumentError(
            "unable to open session; trusted_agents must be client ids, such as {'agent'}, or a function,"
            f" got {trusted!r}"
        )
    return frozenset(cast("list[str]", ids)), None
