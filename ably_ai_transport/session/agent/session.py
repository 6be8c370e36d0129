"""An agent's session."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeAlias, TypeVar, Unpack, get_args

import anyio

from ably_ai_transport.channel import ChannelClient, ChannelState, ChannelStateChange
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.session.agent.announcing import Announcer
from ably_ai_transport.session.agent.cancels import EarlyCancels
from ably_ai_transport.session.agent.concurrency import ConcurrencyPolicy
from ably_ai_transport.session.agent.draining import Departure, Drainer, Parting
from ably_ai_transport.session.agent.gate import PolicyGate
from ably_ai_transport.session.agent.hooks import RunHooks
from ably_ai_transport.session.agent.openings import Openings
from ably_ai_transport.session.agent.policy import RunPolicy
from ably_ai_transport.session.agent.publisher import WriteLimits
from ably_ai_transport.session.agent.recovery import RECOVERY_TIMEOUT_SECONDS, Recovery
from ably_ai_transport.session.agent.run import AgentRun
from ably_ai_transport.session.base import SessionOptions, check_int, check_seconds
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.session.session import BaseSession
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    NotAllowedError,
    SessionClosedError,
)
from ably_ai_transport.wire.listeners import Listeners

if TYPE_CHECKING:
    from ably_ai_transport.session.agent.guard import RunGuard
    from ably_ai_transport.wire import Invocation

I = TypeVar("I")  # noqa: E741 - the input type of a codec; the class's own variables do not serve here
O = TypeVar("O")  # noqa: E741
P = TypeVar("P")
M = TypeVar("M")

Authorize: TypeAlias = Callable[["Invocation"], bool | Awaitable[bool]]
"""Tells whether the session that an invocation names may be served."""

APPEND_WINDOW = 32
INTERRUPT_TIMEOUT_SECONDS = 10.0
_ANYONE = RunPolicy()


class AgentSessionOptions(SessionOptions, total=False):
    """The options of an agent's session, beyond those of :class:`SessionOptions`.

    Attributes:
        append_window: How many appended tokens may wait for their ack at once; 32 by default.
        announce_runs: Whether the agent is present on its channel, with a list of the runs that it works on;
            off by default. When the agent is gone, followers learn of it
            (:meth:`~ably_ai_transport.ClientSession.on_agent_gone`), and its runs can be ended
            (:meth:`~ably_ai_transport.ClientSession.reap`). The Ably client must have a client id, and the
            capability ``presence``.
        concurrency: The fate of a run that is started while another run of the session is active:
            ``"concurrent"`` (the default, as in the npm package), ``"queue"``, ``"reject"``, ``"steer"`` or
            ``"interrupt"``, see :data:`~ably_ai_transport.ConcurrencyPolicy`. Except for ``"concurrent"``,
            :meth:`AgentRun.start` reads the whole history of the channel.
        interrupt_timeout: How long a run that is interrupted may take to end, in seconds; 10 by default.
            After that it is ended from outside. None waits forever.
        merge_appends: Whether tokens that arrive while the window is full are merged into the next append,
            which is the default; otherwise the pipe waits.
        append_interval: Seconds between two appends of one stream. Tokens in between are merged; the first
            and the last ones leave at once. The default is the time in which the server joins appends anyway:
            Ably's roll-up window of 0.04 s, or ``transport_params={"appendRollupWindow": …}`` of the client.
            0 sends each token as it comes, as does ``merge_appends=False``.
        policy: The clients that the session's runs listen to; everybody by default, as in the npm package.
        recovery_timeout: How long writes wait until a lost channel is attached again, in seconds; 600 by
            default, None waits forever. After that the write fails, and so does the step that it belongs to.
        unfinished_turns: Whether :attr:`AgentRun.view` keeps earlier turns whose run failed, was cancelled
            or has not ended, as far as their replies came; ``"keep"`` by default. ``"leave-out"`` leaves them
            out with their inputs, as the npm package does. Suspended turns are left out in any case.
    """

    append_window: int
    announce_runs: bool
    concurrency: ConcurrencyPolicy
    interrupt_timeout: float | None
    merge_appends: bool
    append_interval: float
    policy: RunPolicy
    recovery_timeout: float | None
    unfinished_turns: Literal["keep", "leave-out"]


class AgentSession(BaseSession[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """Publishes runs into a conversation.

    As a context it is connected on entry; on exit, runs that are still open end as ``cancelled`` and the
    session detaches. The Ably client stays the caller's to close.

    Args:
        client: A connected or connecting ``ably.AblyRealtime``. In tests, any
            :class:`~ably_ai_transport.channel.ChannelSource`.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation: an instance of a codec.
        **options: Keyword arguments as in :class:`~ably_ai_transport.AgentSessionOptions`.

    Raises:
        InvalidArgumentError: An argument is out of bounds (40003).

    Example:
        >>> async with AgentSession(ably, invocation.session_name, codec=codec) as session:  # doctest: +SKIP
        ...     async with session.create_run(invocation) as run:
        ...         await run.pipe(model([m.message for m in await run.view.load_all()]))
    """

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        *,
        codec: Codec[InT, OutT, ProjT, MsgT],
        **options: Unpack[AgentSessionOptions],
    ) -> None:
        window = options.pop("append_window", APPEND_WINDOW)
        check_int("open session", "append_window", window, 1)
        merge = options.pop("merge_appends", True)
        interval = options.pop("append_interval", None)
        check_seconds("open session", "append_interval", interval)
        self._policy = options.pop("policy", _ANYONE)
        _check_policy(self._policy)
        recovery_timeout = options.pop("recovery_timeout", RECOVERY_TIMEOUT_SECONDS)
        check_seconds("open session", "recovery_timeout", recovery_timeout)
        announces = options.pop("announce_runs", False)
        self._concurrency: ConcurrencyPolicy = options.pop("concurrency", "concurrent")
        _check_concurrency("open session", self._concurrency)
        self._interrupt_timeout = options.pop("interrupt_timeout", INTERRUPT_TIMEOUT_SECONDS)
        check_seconds("open session", "interrupt_timeout", self._interrupt_timeout)
        self._unfinished_turns = options.pop("unfinished_turns", "keep")
        if self._unfinished_turns not in ("keep", "leave-out"):
            raise InvalidArgumentError(
                "unable to open session; unfinished_turns must be 'keep' or 'leave-out', got"
                f" {self._unfinished_turns!r}"
            )
        super().__init__(client, session_name, codec, options, is_agent=True, merge_appends=merge)
        if interval is None:
            interval = self._core.channel.append_interval
        self._limits = WriteLimits(window, merge, interval if merge else 0.0)
        self._announcer = Announcer(self._core) if announces else None
        self._recovery = Recovery(self._core, recovery_timeout)
        self._drainer = Drainer()
        self._runs: list[AgentRun[InT, OutT, ProjT, MsgT]] = []
        self._guards: list[RunGuard[InT, OutT, ProjT, MsgT]] = []
        self._refused = OrderedDict[str, NotAllowedError]()
        self._is_gated = False
        self._gate(self._policy)
        self._early_cancels = EarlyCancels()
        self._openings = Openings()
        self._closed = Listeners[SessionClosedError](logger=LOGGER)
        self._core.conversation.subscribe(self._on_message, InboundMessage)

    @staticmethod
    @asynccontextmanager
    async def open(
        client: ChannelClient,
        invocation: "Invocation",
        *,
        codec: Codec[I, O, P, M],
        authorize: Authorize | None = None,
        **options: Unpack[AgentSessionOptions],
    ) -> AsyncGenerator["AgentSession[I, O, P, M]"]:
        """Serve an invocation in a session that is detached at the end, whether the work succeeded or not.

        A run that the work has left open stays open: the next attempt adopts it (:meth:`adopt_run`) and
        retries its step under the same id. To end the run, the work ends it, or calls :meth:`end`. It is
        ``withAgentSession`` of the npm package.

        Args:
            client: A connected or connecting ``ably.AblyRealtime``; it stays the caller's to close.
            invocation: The invocation that the client posted; it names the session.
            codec: The vocabulary of the conversation.
            authorize: A plain or coroutine function that returns True where the session that the invocation
                names may be served. It is called before anything is attached. An exception in it is raised.
            options: As for :class:`AgentSession`.

        Yields:
            The session, connected.

        Raises:
            NotAllowedError: ``authorize`` did not return True (40300).
            ChannelRefusedError: The channel refused (104001; ``cause`` says why).

        Example:
            >>> async with AgentSession.open(ably, invocation, codec=codec) as session:  # doctest: +SKIP
            ...     run = session.adopt_run(invocation, run_id=run_id, invocation_id=attempt_id)
            ...     await run.load()
            ...     async with run.create_step(step_id="answer") as step:
            ...         await step.pipe(model(run.view.messages))
        """
        if authorize is not None:
            await _authorize(authorize, invocation)
        session = AgentSession(client, invocation.session_name, codec=codec, **options)
        error: BaseException | None = None
        try:
            await session.connect()
            yield session
        except BaseException as raised:  # a cancelled block, too, leaves within the close timeout
            error = raised
            raise
        finally:
            await session._core.leave(session.detach, error)

    def create_run(
        self,
        invocation: "Invocation",
        *,
        run_id: str | None = None,
        invocation_id: str | None = None,
        hooks: RunHooks[OutT] | None = None,
        invoked_by: str | None = None,
        concurrency: ConcurrencyPolicy | None = None,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        """Create a run for an invocation; it is published when it is started.

        An invocation that arrives twice, here or in another process, is served once: the second run does not
        start (:class:`DuplicateInvocationError`). To serve it again on purpose, choose a run id.

        Args:
            invocation: The invocation that the client posted.
            run_id: The id of a fresh run; None derives it from the input event and the client id of this
                agent. A run that goes on keeps the id that it has.
            invocation_id: The id of this invocation; None makes one up.
            hooks: Functions to call at certain moments of the run.
            invoked_by: The client that posted the invocation, as your endpoint authenticated it. The run
                refuses to start where another client published the input. None compares nothing.
            concurrency: As for :class:`AgentSessionOptions`; None for that of the session.

        Returns:
            The run; enter it as a context, or call ``start`` and ``end``.

        Raises:
            SessionClosedError: The session is closed (104004).
            InvalidArgumentError: An id is empty, or the invocation is none (40003).
        """
        if concurrency is not None:
            _check_concurrency("create run", concurrency)
        return self._run(
            "create run",
            invocation,
            run_id,
            invocation_id,
            hooks,
            adopted=False,
            invoked_by=invoked_by,
            concurrency=concurrency,
        )

    def adopt_run(
        self,
        invocation: "Invocation | None" = None,
        *,
        run_id: str,
        invocation_id: str | None = None,
        hooks: RunHooks[OutT] | None = None,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        """Take over a run that another process started; :meth:`AgentRun.load` finds it on the channel.

        Args:
            invocation: The invocation that the client posted. None finds the run's input by the run alone.
            run_id: The run.
            invocation_id: The invocation under which it goes on; None makes one up. Each attempt needs one of
                its own: an attempt that is cut off, and comes back, stops for a later one only if their
                invocations differ.
            hooks: Functions to call at certain moments of the run.

        Returns:
            The run; enter it as a context, or call ``load`` and ``end``.

        Raises:
            SessionClosedError: The session is closed (104004).
            InvalidArgumentError: An id is empty, or the invocation is none (40003).
        """
        return self._run("adopt run", invocation, run_id, invocation_id, hooks, adopted=True, invoked_by=None)

    async def connect(self) -> None:
        """Subscribe and attach. Connecting twice is fine; so is trying again after a failure.

        Raises:
            SessionClosedError: The session is closed (104004).
            ChannelRefusedError: The channel refused (104001; ``cause`` says why).
            InvalidArgumentError: The event loop is not asyncio's, or runs are to be announced and the client
                is anonymous (40003).
        """
        await super().connect()
        if self._announcer is not None:
            await self._announcer.enter()

    async def drain(self, timeout: float | None = None, *, then: Parting = "suspend") -> None:  # noqa: ASYNC109
        """Take no new runs, wait until the open ones have ended, and give up the rest.

        Call it when the process is told to stop, and then :meth:`end`. A run that is given up has its
        ``abort_signal`` set. In :meth:`AgentRun.end` the application then ends it as ``cancelled``, or the
        context of the run does; what is published is what ``then`` says. A run whose application does not end
        it within the close timeout is given up anyway.

        Args:
            timeout: How long runs may go on, in seconds; None waits for all of them.
            then: ``"suspend"`` suspends the rest, for an invocation that resumes them. ``"cancel"`` ends them
                as ``cancelled``; :attr:`RunInfo.end_message` says why. ``"detach"`` leaves them open for
                another process that adopts them, and publishes nothing.

        Raises:
            InvalidArgumentError: An argument is out of bounds, or the session is not connected (40003).
            SessionClosedError: The session is closed (104004).
            ChannelRefusedError: The channel refused a suspend or an end (104003).
        """
        check_seconds("drain", "timeout", timeout)
        if then not in get_args(Parting):
            raise InvalidArgumentError(
                f"unable to drain; then must be one of {', '.join(get_args(Parting))}, got {then!r}"
            )
        await self._core.require("drain")
        self._drainer.begin()
        with anyio.move_on_after(timeout):
            await self._drainer.emptied()
            return
        why = AITransportError("the agent's process was stopped", ErrorCode.OPERATION_CANCELLED, 400)
        self._drainer.requested.emit(Departure(then, why))
        with anyio.move_on_after(self._core.close_timeout):
            await self._drainer.emptied()
        for run in self._runs:
            if run.phase in ("open", "closing"):
                await run.end("cancelled")

    async def end(self) -> None:
        """End the runs that are still open as ``cancelled``, and detach. Ending twice is fine.

        Where the caller is cancelled, the session goes on ending in a task of its own.
        """
        await self._core.close_once(self._end)

    async def detach(self) -> None:
        """Leave the conversation, and the runs that are still open to another process."""
        await self._core.close_once(self._detach)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._core.leave(self.end, error)

    async def _end(self) -> None:
        self._recovery.give_up()
        for run in self._runs:
            if run.phase in ("open", "closing"):
                try:
                    await run.end("cancelled")
                except AITransportError as error:
                    self._core.report(error)
        await self._detach()

    async def _detach(self) -> None:
        core = self._core
        self._recovery.give_up()
        self._closed.emit(SessionClosedError("unable to locate input event; session closed"))
        try:
            await core.tasks.close(grace=None)
        finally:
            self._openings.close()
        if self._announcer is not None:
            await self._announcer.leave()
        await core.connection.close()
        core.conversation.close()

    def _run(
        self,
        action: str,
        invocation: "Invocation | None",
        run_id: str | None,
        invocation_id: str | None,
        hooks: RunHooks[OutT] | None,
        *,
        adopted: bool,
        invoked_by: str | None,
        concurrency: ConcurrencyPolicy | None = None,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        self._core.connection.check_open(action)
        self._drainer.check_takes_runs(action)
        for name, value in (("run_id", run_id), ("invocation_id", invocation_id)):
            if value == "":
                raise InvalidArgumentError(f"unable to {action}; {name} must not be empty")
        if invocation is not None or not adopted:
            _check_invocation(action, invocation)
        run = AgentRun(
            self._core,
            invocation,
            run_id=run_id,
            invocation_id=invocation_id,
            hooks=RunHooks[OutT]() if hooks is None else hooks,
            adopted=adopted,
            limits=self._limits,
            early_cancels=self._early_cancels,
            policy=self._policy,
            guards=self._guards,
            refused=self._refused,
            invoked_by=invoked_by,
            keeps_unfinished=self._unfinished_turns == "keep",
            recovery=self._recovery,
            concurrency=self._concurrency if concurrency is None else concurrency,
            interrupt_timeout=self._interrupt_timeout,
            openings=self._openings,
            drainer=self._drainer,
            announcer=self._announcer,
            closed=self._closed,
        )
        self._gate(run.policy)
        self._runs = [*(other for other in self._runs if other.phase != "closed"), run]
        return run

    def _gate(self, policy: RunPolicy) -> None:
        """Let inputs pass a gate once a policy restricts them."""
        if self._is_gated or policy.allows_all:
            return
        self._is_gated = True
        self._core.conversation.gates.append(
            PolicyGate(self._core, self._policy, self._guards, self._refused)
        )

    def _on_message(self, change: Change[InT, OutT]) -> None:
        if isinstance(change.event, InboundMessage):
            self._early_cancels.on_message(change.event)
            self._openings.on_message(change.event)

    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        self._recovery.on_lost(change)
        if self._announcer is not None and change.current is ChannelState.ATTACHED:
            self._announcer.announce_again()


async def _authorize(authorize: Authorize, invocation: "Invocation") -> None:
    answer = authorize(invocation)
    if (await answer if isawaitable(answer) else answer) is not True:
        raise NotAllowedError(
            f"unable to serve invocation; session {invocation.session_name!r} is not authorized"
        )


def _check_concurrency(action: str, policy: object) -> None:
    policies = get_args(ConcurrencyPolicy)
    if policy not in policies:
        raise InvalidArgumentError(
            f"unable to {action}; concurrency must be one of {', '.join(policies)}, got {policy!r}"
        )


def _check_policy(policy: object) -> None:
    if not isinstance(policy, RunPolicy):
        raise InvalidArgumentError(
            f"unable to open session; policy must be a RunPolicy, got {type(policy).__name__}"
        )


def _check_invocation(action: str, invocation: object) -> None:
    from ably_ai_transport.wire import Invocation

    if not isinstance(invocation, Invocation):
        raise InvalidArgumentError(
            f"unable to {action}; invocation must be an Invocation, got {type(invocation).__name__}"
            " (read one with Invocation.from_json)"
        )
