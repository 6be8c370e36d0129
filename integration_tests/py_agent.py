"""The Python agent session in the part of ``js_peer.JsAgent``: it plays the same programs and scripts."""

import copy
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import anyio
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage

from ably_ai_transport import (
    AbortSignal,
    AgentRun,
    AgentSession,
    AITransportError,
    CancelRequest,
    Invocation,
    RunHooks,
    StreamResult,
    Write,
)
from integration_tests.engines.server import Server
from integration_tests.js_process import RETRY_MS, TIMEOUT, Json
from integration_tests.signals import Signals
from integration_tests.streams import answer_program
from integration_tests.vocabularies import CODECS, CodecName
from tests.support.showing import show_messages

Run: TypeAlias = AgentRun[Any, Any, Any, UIMessage]
Session: TypeAlias = AgentSession[Any, Any, Any, UIMessage]
Script: TypeAlias = Sequence[Json]


class Gates:
    """Gates by name. Each opens once, before or after somebody waits at it."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._gates: dict[str, anyio.Event] = {}

    def open(self, name: str) -> None:
        """Open a gate."""
        self._gates.setdefault(name, anyio.Event()).set()

    async def wait(self, name: str) -> None:
        """Say that somebody waits, and wait."""
        self._signals.emit(f"gate {name}")
        await self._gates.setdefault(name, anyio.Event()).wait()


async def play(script: Script, gates: Gates, signal: AbortSignal) -> AsyncGenerator[Any]:
    """Play a script as a stream of chunks."""
    for item in script:
        if "type" in item:
            yield item
        elif "gate" in item:
            await gates.wait(item["gate"])
        elif "throw" in item:
            raise RuntimeError(item["throw"])
        elif "untilCancelled" in item:
            await signal.wait()
        elif "file" in item:
            for line in (await anyio.Path(item["file"]).read_text("utf-8")).splitlines():
                yield json.loads(line)
        else:
            raise ValueError(f"no such item in a script: {item}")


@dataclass(slots=True)
class State:
    """The state that earlier steps of a program leave for later ones."""

    outcome: StreamResult | None = None
    conversation: list[Json] | None = None
    passes: int | None = None
    adopted: bool = False
    detached: bool = False


class Steps:
    """The steps that programs are made of; the names are those of ``js/agent.mjs``."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    def _play(self, run: Run, script: Script) -> AsyncGenerator[Any]:
        return play(script, self._gates, run.abort_signal)

    async def load(self, run: Run, state: State, arguments: Json) -> None:
        await run.view.load_all()

    async def start(self, run: Run, state: State, arguments: Json) -> None:
        await (run.load() if state.adopted else run.start())
        state.conversation = copy.deepcopy(show_messages(run.view.messages))

    async def pipe(self, run: Run, state: State, arguments: Json) -> None:
        state.outcome = await run.pipe(self._play(run, arguments["script"]))

    async def respond(self, run: Run, state: State, arguments: Json) -> None:
        for script in arguments["scripts"]:
            if not run.has_input():
                break
            state.passes = (state.passes or 0) + 1
            state.outcome = await run.pipe(self._play(run, script))

    async def step(self, run: Run, state: State, arguments: Json) -> None:
        step = run.create_step(step_id=arguments.get("stepId"))
        await step.start()
        for output in arguments.get("sends", ()):
            await step.send(output)
        if "script" in arguments:
            state.outcome = await step.pipe(self._play(run, arguments["script"]))
        if arguments.get("reason") != "leave-open":
            await step.end(arguments.get("reason"))

    async def gate(self, run: Run, state: State, arguments: Json) -> None:
        await self._gates.wait(arguments["name"])

    async def suspend(self, run: Run, state: State, arguments: Json) -> None:
        await run.suspend()

    async def end(self, run: Run, state: State, arguments: Json) -> None:
        outcome = state.outcome
        reason = arguments.get("reason") or (outcome.reason if outcome else "complete")
        if reason != "error":
            await run.end(reason)
            return
        detail: Json | None = arguments.get("error")
        if detail is None and outcome is not None and outcome.error is not None:
            detail = {"message": str(outcome.error)}
        error = None
        if detail is not None:
            error = AITransportError(
                detail["message"], detail.get("code", 104008), detail.get("statusCode", 500)
            )
        await run.end("error", error=error)

    async def detach(self, run: Run, state: State, arguments: Json) -> None:
        state.detached = True

    async def perform(self, run: Run, state: State, program: Iterable[Json]) -> Json:
        """Play a program; return what became of the run."""
        for step in program:
            action = cast("Callable[[Run, State, Json], Awaitable[None]]", getattr(self, step["do"]))
            await action(run, state, step)
        outcome = state.outcome
        return {
            "runId": run.run_id,
            "invocationId": run.invocation_id,
            "status": run.status,
            "outcome": outcome and outcome.reason,
            "error": outcome and outcome.error,
            "passes": state.passes,
            "conversation": state.conversation,
            "messages": copy.deepcopy(run.messages),
        }


@dataclass(slots=True)
class PyServing:
    """An invocation that an agent is serving."""

    done: anyio.Event = field(default_factory=anyio.Event)
    value: Json | None = None
    error: BaseException | None = None

    async def result(self) -> Json:
        """Wait until the program has been played; return what became of the run."""
        with anyio.fail_after(TIMEOUT):
            await self.done.wait()
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


class PyAgent:
    """An agent in Python. Each invocation is served in a session and on a connection of its own."""

    def __init__(
        self,
        server: Server,
        *,
        client_id: str = "agent",
        binary: bool = False,
        codec: CodecName = "vercel",
        append_interval: float = 0.0,
    ) -> None:
        self._codec = CODECS[codec]
        self._append_interval = append_interval
        self.client_id = client_id
        self.errors: list[AITransportError] = []
        self._options = server.python_options(
            client_id, use_binary_protocol=binary, disconnected_retry_timeout=RETRY_MS
        )
        self._signals = Signals()
        self._gates = Gates(self._signals)
        self._steps = Steps(self._gates)
        self._tasks = anyio.create_task_group()
        self._sessions: dict[str, tuple[AblyRealtime, Session]] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        for name in tuple(self._sessions):
            await self.close_session(name)
        if error is not None and self.errors:
            error.add_note(f"{self.client_id} (Python agent) reported {self.errors}")

    async def _open(self, channel: str) -> tuple[AblyRealtime, Session]:
        ably = AblyRealtime(**self._options)
        session: Session = AgentSession(
            ably,
            channel,
            codec=self._codec,
            append_interval=self._append_interval,
            unfinished_turns="leave-out",
        )
        session.on_error(self.errors.append)
        session.tree.on_message(
            lambda message: self._signals.emit("cancel heard") if message.name == "ai-cancel" else None
        )
        with anyio.fail_after(TIMEOUT):
            await session.connect()
        return ably, session

    async def _close(self, ably: AblyRealtime, session: Session, how: str) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(TIMEOUT):
            await (session.detach() if how == "detach" else session.end())
            await ably.close()

    def _hooks(self, hooks: Json) -> RunHooks[Any]:
        async def refuse(request: CancelRequest) -> bool:
            self._signals.emit("cancel refused")
            return False

        async def say(write: Write[Any]) -> None:
            for output in hooks["lastWords"]:
                await write(output)

        return RunHooks(
            on_error=self.errors.append,
            on_steer=lambda: self._signals.emit("steer"),
            on_cancel=refuse if hooks.get("refuseCancel") else None,
            on_cancelled=say if hooks.get("lastWords") else None,
        )

    async def _serve(self, serving: PyServing, invocation: Invocation, program: Script, how: Json) -> None:
        opened: tuple[AblyRealtime, Session] | None = None
        state = State(adopted=bool(how.get("adopt")))
        try:
            name = how.get("session")
            ably, session = self._sessions[name] if name else await self._open(invocation.session_name)
            opened = None if name else (ably, session)
            run = self._create_run(session, invocation, how)
            serving.value = await self._steps.perform(run, state, program)
        except Exception as error:  # noqa: BLE001  # told by result()
            serving.error = error
        finally:
            if opened is not None:
                await self._close(*opened, "detach" if state.detached else "end")
            serving.done.set()

    def _create_run(self, session: Session, invocation: Invocation, how: Json) -> Run:
        identity = how.get("identity", {})
        run_id, invocation_id = identity.get("runId"), identity.get("invocationId")
        hooks = self._hooks(how.get("hooks", {}))
        if how.get("adopt"):
            return session.adopt_run(invocation, run_id=run_id, invocation_id=invocation_id, hooks=hooks)
        return session.create_run(invocation, run_id=run_id, invocation_id=invocation_id, hooks=hooks)

    async def start_serving(
        self, invocation: Mapping[str, str], program: Sequence[Json], **how: object
    ) -> PyServing:
        """Begin to serve an invocation."""
        serving = PyServing()
        self._tasks.start_soon(self._serve, serving, Invocation.from_json(dict(invocation)), program, how)
        return serving

    async def serve(self, invocation: Mapping[str, str], script: Iterable[Json], **how: object) -> Json:
        """Answer an invocation with a script and wait until that is done."""
        return await (await self.start_serving(invocation, answer_program(script), **how)).result()

    async def open_session(self, channel: str) -> str:
        """Open a session that serves several invocations; pass its name as ``session``."""
        name = f"session{len(self._sessions) + 1}"
        self._sessions[name] = await self._open(channel)
        return name

    async def close_session(self, name: str, how: str = "end") -> None:
        """End or detach a session."""
        await self._close(*self._sessions.pop(name), how)

    async def open(self, gate: str) -> None:
        """Open a gate of a script."""
        self._gates.open(gate)

    async def at_gate(self, gate: str) -> None:
        """Wait until a script waits at a gate."""
        await self._signals.take(f"gate {gate}")

    async def refused(self) -> None:
        """Wait until a cancel has been refused."""
        await self._signals.take("cancel refused")

    async def heard_cancel(self) -> None:
        """Wait until an open session has heard a request to cancel."""
        await self._signals.take("cancel heard")

    async def steered(self) -> None:
        """Wait until a run has been sent a message."""
        await self._signals.take("steer")
