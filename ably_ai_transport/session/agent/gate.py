"""The gate of an agent's session: an input into a run passes if the policy allows it."""

from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import Final, Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import Received, TreeUpdated
from ably_ai_transport.session.agent.guard import RunGuard
from ably_ai_transport.session.agent.policy import (
    RequestKind,
    RunPolicy,
    RunRequest,
    decide,
    refusal,
    target_of,
)
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.wire import InboundMessage, NotAllowedError, names

_LIMIT: Final = 1000


class PolicyGate(Generic[InT, OutT, ProjT, MsgT]):
    """Keeps inputs that the policy does not allow out of the conversation of an agent's session.

    The owner of a run is known once its start and its input have been read. History brings them last, so
    inputs into the run wait until then.

    Args:
        core: The session's parts.
        policy: The policy of the session.
        guards: The guards of the session's runs, which may have policies of their own.
        refused: Gets the latest refusals, by event id.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        policy: RunPolicy,
        guards: Sequence[RunGuard[InT, OutT, ProjT, MsgT]],
        refused: OrderedDict[str, NotAllowedError],
    ) -> None:
        self._core = core
        self._policy = policy
        self._guards = guards
        self._refused = refused
        self._held: OrderedDict[str | None, tuple[Received, RequestKind, str]] = OrderedDict()

    def admit(self, received: Received) -> Sequence[Received]:
        """Let a message pass that is no input into a run, or that is allowed; hold or refuse another one."""
        message = received.message
        target = target_of(message)
        if target is None:
            return (received,)
        kind, run_id = target
        if self._policy_of(run_id, message).rule(kind) == "anyone":
            return (received,)
        owner = self._core.conversation.tree.owner_of(run_id)
        if owner is None:
            self._hold(received, kind, run_id)
            return ()
        return self._decide(received, RunRequest(kind, message, run_id, owner.client_id))

    def flush(self, *, exhausted: bool) -> Sequence[Received]:
        """Decide about the inputs whose owners are known now, or are not in history."""
        if not self._held:
            return ()
        tree = self._core.conversation.tree
        admitted: list[Received] = []
        for serial, (received, kind, run_id) in tuple(self._held.items()):
            owner = tree.owner_of(run_id)
            if owner is not None or exhausted:
                del self._held[serial]
                client_id = None if owner is None else owner.client_id
                admitted.extend(self._decide(received, RunRequest(kind, received.message, run_id, client_id)))
        return admitted

    def _hold(self, received: Received, kind: RequestKind, run_id: str) -> None:
        self._held[received.message.serial] = (received, kind, run_id)
        if len(self._held) > _LIMIT:
            _, (oldest, its_kind, its_run) = self._held.popitem(last=False)
            self._refuse(RunRequest(its_kind, oldest.message, its_run, None))

    def _decide(self, received: Received, request: RunRequest) -> Sequence[Received]:
        answer = decide(self._policy_of(request.run_id, request.message), request, self._core.report)
        if not isinstance(answer, bool):
            self._core.tasks.start(self._wait_for(answer, received, request))
        elif answer:
            return (received,)
        else:
            self._refuse(request)
        return ()

    async def _wait_for(self, answer: Awaitable[bool], received: Received, request: RunRequest) -> None:
        if await answer:
            self._core.conversation.take(received.message, live=received.live)
            # What hangs under the input may have come before it, and is on a branch now.
            self._core.conversation.publish([TreeUpdated()])
        else:
            self._refuse(request)

    def _refuse(self, request: RunRequest) -> None:
        guard = self._guard_of(request.run_id, request.message)
        error = refusal(request) if guard is None else guard.refuse(request)
        if guard is None:
            self._core.report(error)
        event_id = request.message.transport_headers.get(names.EVENT_ID)
        if event_id is not None:
            self._refused[event_id] = error
            if len(self._refused) > _LIMIT:
                self._refused.popitem(last=False)

    def _policy_of(self, run_id: str, message: InboundMessage) -> RunPolicy:
        guard = self._guard_of(run_id, message)
        return self._policy if guard is None else guard.policy

    def _guard_of(self, run_id: str, message: InboundMessage) -> RunGuard[InT, OutT, ProjT, MsgT] | None:
        return next((guard for guard in self._guards if guard.concerns(run_id, message)), None)
