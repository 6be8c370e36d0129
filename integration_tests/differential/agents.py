"""Plays scripts to agent sessions of ours.

A step is a JSON object with the name of an operation under ``op``; whatever is published in a step comes back
from the channel at its end.

========== =================================================== =======================================
deliver    message                                             the channel delivers a message
create     inputEventId, runId, invocationId, adopted          a run is created, or adopted
start      run                                                 … is started
load       run                                                 … is taken over
hasInput   run                                                 … is asked for input
pipe       run, chunks                                         … streams; ``{"throw": …}`` fails
suspend    run                                                 … is suspended
end        run, reason, error                                  … ends
createStep run, stepId, stepClientId                           a step is created
startStep  step                                                … is started
pipeStep   step, chunks                                        … streams
sendStep   step, chunk                                         … sends
endStep    step, reason                                        … ends
========== =================================================== =======================================
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from ably_ai_transport_vercel import UIAgentSession, UIMessageChunk, UIMessageCodec

from ably_ai_transport import (
    AgentRun,
    AgentSession,
    AITransportError,
    Invocation,
    OutboundMessage,
    RunHooks,
    RunStep,
)
from ably_ai_transport.wire import MessageAction, RunEndReason, StepEndReason, names
from integration_tests.differential.script import Json, Names, message_from_json
from tests.support.scripted_channel import ScriptedChannel, ScriptedSource
from tests.support.showing import show_error, show_messages

CODEC = UIMessageCodec()
AnyRun = AgentRun[Any, Any, Any, Any]

_KINDS = {MessageAction.CREATE: "publish", MessageAction.APPEND: "append", MessageAction.UPDATE: "update"}

_TURNS = 20
"""Turns of the event loop after which all that a step has set off is done: there is no I/O."""


class AgentPlayer:
    """An agent session that is taken through a script, step by step."""

    def __init__(self, session: UIAgentSession, channel: ScriptedChannel, names: Names) -> None:
        self._names = names
        self._session = session
        self._channel = channel
        self._runs: list[AnyRun] = []
        self._steps: list[RunStep[Any, Any, Any, Any]] = []
        self._heard: list[str] = []
        session.on_error(lambda error: self._heard.append(f"session {error.code}"))

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Self]:
        """Open a session."""
        made_up = Names(names.EVENT_ID, names.CODEC_MESSAGE_ID, names.STEP_ID)
        channel = ScriptedChannel("differential", client_id="agent")
        session = AgentSession(
            ScriptedSource(channel),
            "differential",
            codec=CODEC,
            # The npm package shows no turns that were left unfinished.
            unfinished_turns="leave-out",
            append_window=10_000,
            merge_appends=False,
        )
        async with session:
            yield cls(session, channel, made_up)

    async def take(self, step: Json) -> Json:
        """Take a step; return what was published, and what there is to see then."""
        before = len(self._channel.taken)
        raw = self._names.reveal(step)
        error: Json | None = None
        result: object = None
        try:
            result = await getattr(self, f"_{raw.pop('op')}")(**raw)
        except AITransportError as raised:
            error = {"code": raised.code, "statusCode": raised.status_code}
        await _settle()
        self._channel.echo()
        await _settle()
        new = self._channel.taken[before:]
        for taken in new:
            for message in taken.messages:
                self._names.learn(message)
        shown: Json = {
            "error": error,
            "result": result,
            "frames": [_show_frame(taken.action, message) for taken in new for message in taken.messages],
            "runs": [_show_run(run) for run in self._runs],
            "heard": self._heard,
        }
        concealed = self._names.conceal(shown)
        self._heard = []
        return concealed

    async def _deliver(self, message: Json) -> None:
        self._channel.deliver(message_from_json(message))

    async def _create(self, inputEventId: str, runId: str, invocationId: str, adopted: bool = False) -> None:  # noqa: N803 - as in the script
        place = len(self._runs)
        invocation = Invocation(input_event_id=inputEventId, session_name="differential")
        hooks = RunHooks[UIMessageChunk](
            on_steer=lambda: self._heard.append(f"steer {place}"),
            on_error=lambda error: self._heard.append(f"run {place} {error.code}"),
        )
        create = self._session.adopt_run if adopted else partial(self._session.create_run)
        self._runs.append(create(invocation, run_id=runId, invocation_id=invocationId, hooks=hooks))

    async def _start(self, run: int) -> None:
        await self._runs[run].start()

    async def _load(self, run: int) -> None:
        await self._runs[run].load()

    async def _hasInput(self, run: int) -> bool:  # noqa: N802
        return self._runs[run].has_input()

    async def _pipe(self, run: int, chunks: list[Json]) -> str:
        return (await self._runs[run].pipe(_stream(chunks))).reason

    async def _suspend(self, run: int) -> None:
        await self._runs[run].suspend()

    async def _end(self, run: int, reason: RunEndReason, error: Json | None = None) -> None:
        detail = error or {}
        cause = AITransportError(detail["message"], detail["code"], detail["statusCode"]) if detail else None
        await self._runs[run].end(reason, error=cause)

    async def _createStep(self, run: int, stepId: str | None = None, stepClientId: str | None = None) -> None:  # noqa: N802, N803
        self._steps.append(self._runs[run].create_step(step_id=stepId, step_client_id=stepClientId))

    async def _startStep(self, step: int) -> None:  # noqa: N802
        await self._steps[step].start()

    async def _pipeStep(self, step: int, chunks: list[Json]) -> str:  # noqa: N802
        return (await self._steps[step].pipe(_stream(chunks))).reason

    async def _sendStep(self, step: int, chunk: UIMessageChunk) -> None:  # noqa: N802
        await self._steps[step].send(chunk)

    async def _endStep(self, step: int, reason: StepEndReason | None = None) -> None:  # noqa: N802
        await self._steps[step].end(reason)


async def _stream(chunks: list[Json]) -> AsyncIterator[Any]:
    for chunk in chunks:
        if "throw" in chunk:
            raise ValueError(chunk["throw"])
        yield chunk


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _show_frame(action: MessageAction, message: OutboundMessage) -> Json:
    shown: Json = {
        "kind": _KINDS[action],
        "name": message.name,
        "data": message.data,
        "extras": message.extras,
        "serial": message.serial,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _show_run(run: AnyRun) -> Json:
    return {
        "runId": run.run_id,
        "status": run.status,
        "error": None if run.error is None else show_error(run.error),
        "aborted": run.abort_signal.aborted,
        "messages": list(run.messages),
        "view": show_messages(run.view.messages),
    }
