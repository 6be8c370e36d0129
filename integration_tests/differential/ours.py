"""Plays scripts to client sessions of ours."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias

from ably_ai_transport_vercel import (
    UIMessage,
    UIMessageCodec,
    VercelInput,
    create_tool_result_fork,
)

from ably_ai_transport import (
    AITransportError,
    ClientRun,
    ClientSession,
    CodecMessage,
    RunInfo,
    View,
)
from ably_ai_transport.conversation import OutputFolded, RunNode, run_info
from ably_ai_transport.session import SteerResult
from ably_ai_transport.wire import RunEnd, RunLifecycleEvent, RunStart, names
from integration_tests.differential.script import (
    CLIENT_ID,
    Json,
    Names,
    Script,
    frame_to_json,
    identity,
    message_from_json,
    message_to_json,
)
from integration_tests.vocabularies import CODECS
from tests.support.scripted_channel import ScriptedChannel, ScriptedSource
from tests.support.showing import show_error, show_messages, show_run

CODEC = UIMessageCodec()
AnyView: TypeAlias = Any
AnyRun: TypeAlias = ClientRun[Any, Any, Any, Any]

_TURNS = 12
"""Turns of the event loop after which all that a step has set off is done: there is no I/O."""


def said(content: Json) -> VercelInput:
    """Make the input that a script describes."""
    return CODEC.create_user_message(
        {"id": content["id"], "role": "user", "parts": [{"type": "text", "text": content["text"]}]}
    )


class Player:
    """A client session that is taken through a script, step by step."""

    def __init__(self, session: ClientSession[Any, Any, Any, Any], channel: ScriptedChannel) -> None:
        self.names = Names(names.EVENT_ID, names.CODEC_MESSAGE_ID)
        self._session = session
        self._channel = channel
        self._views: list[AnyView] = []
        self._runs: list[AnyRun] = []
        self._steers: list[SteerResult] = []
        self._heard: Json = {}
        self._forget()
        session.on_error(lambda error: self._heard["errors"].append(show_error(error)))
        session.tree.on_run(lambda event: self._heard["runs"].append(_show_run_event(event)))
        session.tree.on_output(lambda event: self._heard["outputs"].append(_show_output(event)))
        self._watch(session.view)

    @classmethod
    @asynccontextmanager
    async def of(cls, script: Script) -> AsyncGenerator[Self]:
        """Open a session on the channel that a script describes."""
        channel = ScriptedChannel("differential", client_id=CLIENT_ID)
        channel.history_walks.append(script.history)
        session = ClientSession(
            ScriptedSource(channel),
            "differential",
            codec=CODECS[script.codec],
            history_page_size=script.page_size,
        )
        async with session:
            player = cls(session, channel)
            player.names.know([message_to_json(message) for message in script.history])
            yield player

    async def take(self, step: Json) -> Json:
        """Take a step; return what there is to see then."""
        before = len(self._channel.taken)
        raw = self.names.reveal(step)
        error: Json | None = None
        result: object = None
        try:
            result = await getattr(self, f"_{raw.pop('op')}")(**raw)
        except AITransportError as raised:
            error = {"code": raised.code, "statusCode": raised.status_code}
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        frames = [taken.messages for taken in self._channel.taken[before:]]
        for frame in frames:
            for message in frame:
                self.names.learn(message)
        shown: Json = {
            "error": error,
            "result": result,
            "frames": [[frame_to_json(message) for message in frame] for frame in frames],
            "views": [_show_view(view) for view in self._views],
            "sent": [_show_sent(run) for run in self._runs],
            "steers": [await _show_steer(steer) for steer in self._steers],
            "heard": self._heard,
        }
        concealed = self.names.conceal(shown)
        self._forget()
        return concealed

    def _forget(self) -> None:
        viewed: list[Json] = [{"runs": [], "messages": []} for _ in self._views]
        self._heard = {"errors": [], "runs": [], "outputs": [], "viewed": viewed}

    def _watch(self, view: View[Any, Any, Any, Any]) -> None:
        place = len(self._views)
        self._views.append(view)
        self._heard["viewed"].append({"runs": [], "messages": []})
        view.on_run(lambda event: self._heard["viewed"][place]["runs"].append(_show_run_event(event)))
        view.on_message(lambda message: self._heard["viewed"][place]["messages"].append(message.serial))

    async def _deliver(self, message: Json) -> None:
        self._channel.deliver(message_from_json(message))

    async def _deliverAll(self, messages: list[Json]) -> None:  # noqa: N802
        for message in messages:
            self._channel.deliver(message_from_json(message))

    async def _refuse(self) -> None:
        self._channel.answers.append(AITransportError("refused", 50000, 500))

    async def _send(self, view: int, said: Json, options: Json | None = None) -> None:
        self._runs.append(await self._views[view].send(_said(said), **_snake(options or {})))

    async def _edit(self, view: int, messageId: str, said: Json) -> None:  # noqa: N803 - as in the script
        self._runs.append(await self._views[view].edit(messageId, _said(said)))

    async def _regenerate(self, view: int, messageId: str) -> None:  # noqa: N803
        self._runs.append(await self._views[view].regenerate(messageId))

    async def _returnTool(  # noqa: N802
        self,
        view: int,
        runId: str,  # noqa: N803
        messageId: str,  # noqa: N803
        toolCallId: str,  # noqa: N803
        text: str,
    ) -> None:
        answer = CODEC.create_tool_result(messageId, {"toolCallId": toolCallId, "output": text})
        self._runs.append(await self._views[view].send([answer], run_id=runId))

    async def _forkTool(  # noqa: N802
        self,
        view: int,
        runId: str,  # noqa: N803
        messageId: str,  # noqa: N803
        toolCallId: str,  # noqa: N803
        text: str,
    ) -> None:
        node = self._session.tree.get_run_node(runId)
        assert node is not None, messageId
        fork = create_tool_result_fork(
            CODEC.get_messages(node.projection),
            parent=node.parent_codec_message_id,
            tool_call_id=toolCallId,
            supersedes=runId,
            output=text,
        )
        self._runs.append(await self._views[view].send(fork.input, **fork.options))

    async def _cancel(self, run: int) -> None:
        await self._runs[run].cancel()

    async def _cancelRun(self, runId: str) -> None:  # noqa: N802, N803
        await self._session.cancel(runId)

    async def _steer(self, run: int, said: Json) -> None:
        self._steers.append(self._runs[run].steer(_said(said)))

    async def _select(self, view: int, messageId: str, index: int) -> None:  # noqa: N803
        self._views[view].branch_selection(messageId).select(index)

    async def _newest(self, view: int) -> None:
        target = self._views[view]
        chosen: set[str] = set()
        while True:
            for entry in target.messages:
                branch = target.branch_selection(entry.codec_message_id)
                if branch.index < len(branch.siblings) - 1 and entry.codec_message_id not in chosen:
                    chosen.add(entry.codec_message_id)
                    branch.select(len(branch.siblings) - 1)
                    break
            else:
                return

    async def _loadOlder(self, view: int, limit: int) -> list[str]:  # noqa: N802
        return [entry.codec_message_id for entry in await self._views[view].load_older(limit)]

    async def _loadUntil(self, view: int, messageId: str) -> list[str]:  # noqa: N802, N803
        def is_seam(entry: CodecMessage[UIMessage]) -> bool:
            return entry.codec_message_id == messageId

        found = await self._views[view].load_until(is_seam)
        return [entry.codec_message_id for entry in found]

    async def _inspect(self, runIds: list[str], messageIds: list[str]) -> Json:  # noqa: N803
        tree = self._session.tree
        runs = [tree.get_run_node(run_id) for run_id in runIds]
        owners = [tree.get_node_by_codec_message_id(message_id) for message_id in messageIds]
        return {
            "runs": [run and _show_node(run) for run in runs],
            "messages": [node and show_messages(CODEC.get_messages(node.projection)) for node in owners],
            "siblings": [
                [] if node is None else [other.key for other in tree.get_sibling_nodes(node.key)]
                for node in owners
            ],
        }

    async def _newView(self) -> None:  # noqa: N802
        self._watch(self._session.create_view())


_said: Callable[[Json], VercelInput] = said


def _snake(options: Json) -> Json:
    """Translate the options of a send."""
    words = {"forkOf": "fork_of", "runId": "run_id"}
    return {words.get(key, key): value for key, value in options.items()}


def _show_view(view: AnyView) -> Json:
    messages = view.messages
    runs: list[RunInfo] = view.runs()
    return {
        "messages": show_messages(messages),
        "runs": [show_run(run) for run in runs],
        "hasOlder": view.has_older,
        "branches": [_show_branch(view, entry.codec_message_id) for entry in messages],
        "runOf": [
            None if (run := view.run_of(entry.codec_message_id)) is None else run.run_id for entry in messages
        ],
    }


def _show_branch(view: AnyView, codec_message_id: str) -> Json:
    handle = view.branch_selection(codec_message_id)
    return {
        "hasSiblings": handle.has_siblings,
        "siblings": [identity(message) for message in handle.siblings],
        "index": handle.index,
        "selected": None if handle.selected is None else identity(handle.selected),
    }


def _show_node(node: RunNode[Any]) -> Json:
    return {
        **show_run(run_info(node)),
        "parent": node.parent_codec_message_id,
        "regenerates": node.regenerates_codec_message_id,
    }


def _show_sent(run: AnyRun) -> Json:
    return {
        "runId": run.run_id,
        "status": run.status,
        "error": None if run.error is None else show_error(run.error),
        "messages": list(run.messages),
    }


async def _show_steer(steer: SteerResult) -> Json:
    published: object = steer.published.is_settled
    if isinstance(steer.published.error, AITransportError):
        published = steer.published.error.code
    outcome: object = None
    if isinstance(steer.outcome.error, AITransportError):
        outcome = steer.outcome.error.code
    elif steer.outcome.is_settled:
        value = await steer.outcome
        reason = value.run_terminal_reason
        outcome = {"consumed": value.consumed, **({} if reason is None else {"runTerminalReason": reason})}
    return {"published": published, "outcome": outcome}


def _show_run_event(event: RunLifecycleEvent) -> Json:
    shown: Json = {
        "type": event.type,
        "runId": event.run_id,
        "clientId": event.client_id,
        "invocationId": event.invocation_id,
        "serial": event.serial,
    }
    if isinstance(event, RunStart):
        shown |= {
            "parent": event.parent,
            "forkOf": event.fork_of,
            "regenerates": event.regenerates,
            "inputCodecMessageId": event.input_codec_message_id,
        }
    if isinstance(event, RunEnd):
        shown |= {"reason": event.reason, "error": event.error and show_error(event.error)}
    return {key: value for key, value in shown.items() if value is not None}


def _show_output(event: OutputFolded[Any, Any]) -> Json:
    shown: Json = {
        "runId": event.run_id,
        "inputCodecMessageId": event.input_codec_message_id,
        "codecMessageId": event.codec_message_id,
        "serial": event.serial,
        "events": list(event.events),
        "inputs": len(event.inputs),
        "stepId": event.step_id,
        "stepStartSerial": event.step_start_serial,
        "steerCodecMessageIds": event.steer_codec_message_ids and list(event.steer_codec_message_ids),
    }
    return {key: value for key, value in shown.items() if value is not None}
