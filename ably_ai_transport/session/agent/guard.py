"""The guard of one run: applies the run's policy, and reports refusals."""

from collections.abc import Awaitable
from typing import Generic

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.agent.hooks import HookCaller
from ably_ai_transport.session.agent.policy import RunPolicy, RunRequest, ask, decide, refusal
from ably_ai_transport.session.agent.publisher import RunFacts
from ably_ai_transport.session.signals import Latch
from ably_ai_transport.wire import InboundMessage, NotAllowedError, names


class RunGuard(Generic[InT, OutT, ProjT, MsgT]):
    """Decides what clients may ask of one run.

    Args:
        policy: The run's policy.
        facts: The run.
        input_event_id: The event of the triggering input; None where only the run is known.
        located: Fails when the triggering input is refused.
        hooks: Report refusals.
    """

    def __init__(
        self,
        policy: RunPolicy,
        facts: RunFacts,
        input_event_id: str | None,
        located: Latch[None],
        hooks: HookCaller[InT, OutT, ProjT, MsgT],
    ) -> None:
        self.policy = policy
        self._facts = facts
        self._input_event_id = input_event_id
        self._located = located
        self._hooks = hooks

    def concerns(self, run_id: str, message: InboundMessage) -> bool:
        """Tell whether an input is for this run, or triggers it."""
        return run_id == self._facts.run_id or self._is_trigger(message)

    def decide(self, request: RunRequest) -> bool | Awaitable[bool]:
        """Decide about a request, as the policy says."""
        return decide(self.policy, request, self._hooks.report)

    async def ask(self, request: RunRequest) -> bool:
        """Decide about a request, and wait for the answer."""
        return await ask(self.policy, request, self._hooks.report)

    def refuse(self, request: RunRequest) -> NotAllowedError:
        """Report a refusal. A run whose triggering input is refused cannot start."""
        error = refusal(request)
        if self._is_trigger(request.message) and not self._located.is_settled:
            self._located.reject(error)
        self._hooks.report(error)
        return error

    def _is_trigger(self, message: InboundMessage) -> bool:
        event_id = message.transport_headers.get(names.EVENT_ID)
        return event_id is not None and event_id == self._input_event_id
