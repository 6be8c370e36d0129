"""Hooks of a run: functions of the application that are called at certain moments."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from ably_ai_transport.codec.contract import InT, MessageHook, MsgT, OutT, ProjT
from ably_ai_transport.session.agent.pipe import OnCancelled, Write
from ably_ai_transport.session.agent.policy import RunPolicy
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.signals import AbortSignal
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, InvalidArgumentError
from ably_ai_transport.wire.listeners import is_async

T = TypeVar("T")


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
    """Callbacks of one run: plain functions or coroutine functions.

    An exception in a hook is logged with its traceback, and reported to ``on_error``. It never ends the run
    or the session.

    Attributes:
        on_cancel: Decides about a cancel request: True allows it. Without the hook, each request is allowed.
        on_cancelled: May write last outputs when a pipe is cancelled.
        on_message: Called with each output message before it is published; may change it in place. A plain
            function.
        on_steer: Called when a steering message has arrived.
        on_error: Called with each error of this run outside of any call; without the hook, the session's
            ``on_error`` listeners get it.
        signal: Cancels the run from outside.
        policy: The clients that the run listens to; None for the policy of the session. It decides about
            inputs that arrive from then on.
    """

    on_cancel: Callable[[CancelRequest], bool | Awaitable[bool]] | None = None
    on_cancelled: OnCancelled[OutT] | None = None
    on_message: MessageHook | None = None
    on_steer: Callable[[], object] | None = None
    on_error: Callable[[AITransportError], object] | None = None
    signal: AbortSignal | None = None
    policy: RunPolicy | None = None


class HookCaller(Generic[InT, OutT, ProjT, MsgT]):
    """Calls the hooks of one run.

    Args:
        core: The session's parts.
        hooks: The hooks.

    Raises:
        InvalidArgumentError: A hook is not callable, or ``on_message`` is a coroutine function (40003).
    """

    def __init__(self, core: SessionCore[InT, OutT, ProjT, MsgT], hooks: RunHooks[OutT]) -> None:
        _check(hooks)
        self._core = core
        self._hooks = hooks

    async def allows_cancel(self, request: CancelRequest) -> bool:
        """Ask whether a cancel request is allowed; one whose hook raises is refused."""
        if self._hooks.on_cancel is None:
            return True
        try:
            answer = await _resolved(self._hooks.on_cancel(request))
        except Exception as error:  # noqa: BLE001 - a user's code
            self._failed("on_cancel", error, f"process cancel for run {request.run_id}")
            return False
        if not isinstance(answer, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's code
            self._core.log.warning(
                "on_cancel returned %r (return True or False)",
                answer,
                extra={"run": request.run_id},
            )
        return bool(answer)

    @property
    def decides_cancels(self) -> bool:
        """Whether the application wants to be asked about cancel requests."""
        return self._hooks.on_cancel is not None

    async def write_cancelled(self, write: Write[OutT], run_id: str) -> None:
        """Let the application write last outputs of a pipe that was cancelled."""
        if self._hooks.on_cancelled is None:
            return
        try:
            await _resolved(self._hooks.on_cancelled(write))
        except Exception as error:  # noqa: BLE001 - a user's code
            self._failed("on_cancelled", error, f"write the end of a cancelled reply for run {run_id}")

    def notify_steer(self, run_id: str) -> None:
        """Tell the application that a steering message has arrived."""
        if self._hooks.on_steer is not None:
            self._notify("on_steer", self._hooks.on_steer, f"notify steer for run {run_id}")

    def report(self, error: AITransportError) -> None:
        """Report an error of the run to its own hook, or to the session."""
        if self._hooks.on_error is None:
            self._core.report(error)
            return
        try:
            result = self._hooks.on_error(error)
            if inspect.isawaitable(result):
                self._core.tasks.start(self._await_on_error(result, error))
        except Exception:  # a user's code
            self._core.log.exception("on_error raised")
            self._core.report(error)

    def report_listener(self, error: Exception) -> None:
        """Report an exception in a listener of the run's view."""
        self.report(AITransportError.wrap("call listener", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR))

    def _notify(self, name: str, hook: Callable[[], object], action: str) -> None:
        try:
            result = hook()
        except Exception as error:  # noqa: BLE001 - a user's code
            self._failed(name, error, action)
            return
        if inspect.isawaitable(result):
            self._core.tasks.start(self._await_hook(name, result, action))

    async def _await_hook(self, name: str, result: Awaitable[object], action: str) -> None:
        try:
            await result
        except Exception as error:  # noqa: BLE001 - a user's code
            self._failed(name, error, action)

    async def _await_on_error(self, result: Awaitable[object], error: AITransportError) -> None:
        try:
            await result
        except Exception:  # a user's code
            self._core.log.exception("on_error raised")
            self._core.report(error)

    def _failed(self, name: str, error: Exception, action: str) -> None:
        self._core.log.error("%s raised", name, exc_info=error)
        self.report(AITransportError.wrap(action, error, ErrorCode.CANCEL_LISTENER_ERROR))


def public_error(error: Exception | None) -> AITransportError | None:
    """Describe a failure for the clients of a conversation, without text that may be secret.

    Args:
        error: The failure.

    Returns:
        The error itself where it is one of ours; otherwise one that names its type, with code 104008.
    """
    if error is None or isinstance(error, AITransportError):
        return error
    return AITransportError(f"agent failed with {type(error).__name__}", ErrorCode.STREAM_ERROR)


async def _resolved(result: T | Awaitable[T]) -> T:
    if inspect.isawaitable(result):
        return await cast("Awaitable[T]", result)
    return result


def _check(hooks: object) -> None:
    if not isinstance(hooks, RunHooks):
        raise InvalidArgumentError(
            f"unable to create run; hooks must be RunHooks, got {type(hooks).__name__}"
        )
    for name in ("on_cancel", "on_cancelled", "on_message", "on_steer", "on_error"):
        hook: object = getattr(cast("object", hooks), name)
        if hook is not None and not callable(hook):
            raise InvalidArgumentError(f"unable to create run; {name} must be a function")
    policy = cast("object", hooks.policy)
    if policy is not None and not isinstance(policy, RunPolicy):
        raise InvalidArgumentError(
            f"unable to create run; policy must be a RunPolicy, got {type(policy).__name__}"
        )
    if hooks.on_message is not None and is_async(hooks.on_message):
        raise InvalidArgumentError("unable to create run; on_message must be a plain function")
