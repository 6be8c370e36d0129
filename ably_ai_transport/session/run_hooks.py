"""What an application may do at certain moments of a run."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from ably_ai_transport.codec.contract import MessageHook, OutT
from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.session.pipe import OnCancelled
from ably_ai_transport.wire import AITransportError, InboundMessage


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A client's request to stop a run.

    Attributes:
        message: The channel message that carried it; its ``client_id`` is verified.
        run_id: The run.
    """

    message: InboundMessage
    run_id: str


@dataclass(frozen=True)
class RunHooks(Generic[OutT]):
    """Callbacks of one run. What they raise goes to ``on_error`` and never ends the session.

    Attributes:
        on_cancel: Decides about a cancel request; return False to refuse it.
        on_cancelled: May write last outputs when a pipe is cancelled.
        on_message: Called with each output message before it is published; may change it in place.
        on_steer: Called when a steering message has arrived.
        on_error: Called with what goes wrong in this run outside of any call; the session's ``on_error``
            listeners get it where there is none.
        signal: Cancels the run from outside.
    """

    on_cancel: Callable[[CancelRequest], Awaitable[bool]] | None = None
    on_cancelled: OnCancelled[OutT] | None = None
    on_message: MessageHook | None = None
    on_steer: Callable[[], object] | None = None
    on_error: Callable[[AITransportError], object] | None = None
    signal: AbortSignal | None = None
