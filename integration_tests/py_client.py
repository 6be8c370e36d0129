"""The Python client session in the part of ``js_peer.JsClient``."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import anyio
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage, create_tool_result_fork, text_message, text_of

from ably_ai_transport import AITransportError, ClientRun, ClientSession, ClientView, SteerResult
from ably_ai_transport.codec import TableCodec
from integration_tests.engines.server import Server
from integration_tests.js_process import RETRY_MS, TIMEOUT, Json
from integration_tests.signals import Signals
from integration_tests.vocabularies import CODECS, CodecName
from tests.support.showing import show_error, show_messages, show_run

Session: TypeAlias = ClientSession[Any, Any, Any, UIMessage]
View: TypeAlias = ClientView[Any, Any, Any, UIMessage]
Condition: TypeAlias = Callable[[Session, View], bool]


@dataclass(frozen=True)
class PySteer:
    """A steering message on its way."""

    result: SteerResult

    async def outcome(self) -> Json:
        """Wait until the run has ended and tell whether the agent took the message in."""
        with anyio.fail_after(TIMEOUT):
            outcome = await self.result.outcome
        reason = outcome.run_terminal_reason
        return {"consumed": outcome.consumed, **({} if reason is None else {"runTerminalReason": reason})}


@dataclass(frozen=True)
class PyRun:
    """A run that a Python client asked for."""

    run: ClientRun[Any, Any, Any, UIMessage]
    codec: TableCodec[Any, Any, Any, UIMessage, Any, Any, Any]

    @property
    def invocation(self) -> Json:
        """The body for the agent's endpoint."""
        return dict(self.run.to_invocation().to_json())

    @property
    def input_codec_message_id(self) -> str:
        """The message that asked for it."""
        return self.run.input_codec_message_id

    async def started(self) -> str:
        """Wait until the agent has started the run; return the run's id."""
        with anyio.fail_after(TIMEOUT):
            await self.run.started
        return self.run.run_id

    async def cancel(self) -> None:
        """Ask the agent to stop, whether or not the run has begun."""
        await self.run.cancel()

    async def steer(self, text: str) -> PySteer:
        """Send a message into the run."""
        result = self.run.steer(self.codec.create_user_message(text_message(text)))
        with anyio.fail_after(TIMEOUT):
            await result.published
        return PySteer(result)

    async def state(self) -> Json:
        """Return run id, status, error and messages as the client sees them."""
        run = self.run
        error = None if run.error is None else show_error(run.error)
        return {
            "runId": run.run_id,
            "status": run.status,
            "messages": run.messages,
            **({} if error is None else {"error": error}),
        }


def _conditions(wanted: Mapping[str, object]) -> list[Condition]:
    meets: dict[str, Callable[[Session, View, Any], bool]] = {
        "messages": lambda _, view, count: len(view.messages) >= count,
        "runs": lambda _, view, count: len(view.runs()) >= count,
        "text": lambda _, view, text: any(text in text_of(entry.message) for entry in view.messages),
        "reply": lambda _, view, text: any(
            entry.message["role"] == "assistant" and text in text_of(entry.message) for entry in view.messages
        ),
        "status": lambda _, view, status: any(run.status == status for run in view.runs()),
        "settled": lambda _, view, count: sum(run.status != "active" for run in view.runs()) >= count,
        "ended": lambda session, _, run_id: (
            (node := session.tree.get_run_node(run_id)) is not None and node.status != "active"
        ),
    }

    def bind(name: str, value: object) -> Condition:
        return lambda session, view: meets[name](session, view, value)

    return [bind(name, value) for name, value in wanted.items()]


class PyClient:
    """A client session in Python, connected for as long as the ``async with`` lasts."""

    def __init__(
        self,
        server: Server,
        *,
        client_id: str,
        channel: str,
        binary: bool = False,
        session: Mapping[str, object] | None = None,
        codec: CodecName = "vercel",
    ) -> None:
        self.label = client_id
        self.channel = channel
        self.errors: list[AITransportError] = []
        self._signals = Signals()
        self._options = server.python_options(
            client_id, use_binary_protocol=binary, disconnected_retry_timeout=RETRY_MS
        )
        self._page_size = int(cast("int", (session or {}).get("historyPageSize", 100)))
        self._codec = CODECS[codec]
        self._views: dict[str, View] = {}
        self._ably: AblyRealtime
        self._session: Session

    async def __aenter__(self) -> Self:
        self._ably = AblyRealtime(**self._options)
        self._session = ClientSession(
            self._ably, self.channel, codec=self._codec, history_page_size=self._page_size
        )
        self._session.on_error(self._on_error)
        with anyio.fail_after(TIMEOUT):
            await self._session.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(TIMEOUT):
            await self._session.close()
            await self._ably.close()
        if error is not None and self.errors:
            error.add_note(f"{self.label} (Python client) reported {self.errors}")

    def _on_error(self, error: AITransportError) -> None:
        self.errors.append(error)
        self._signals.emit(f"error {error.code}")

    def _view(self, name: str | None) -> View:
        return self._session.view if name is None else self._views[name]

    def _run(self, run: ClientRun[Any, Any, Any, UIMessage]) -> PyRun:
        return PyRun(run, self._codec)

    async def send(
        self,
        text: str | None = None,
        *,
        message: Json | None = None,
        view: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> PyRun:
        """Send a user's message, given as its text or as a whole UI message."""
        content = cast("UIMessage", message) if text is None else text_message(text)
        given = cast("dict[str, Any]", dict(options or {}))
        return self._run(await self._view(view).send(self._codec.create_user_message(content), **given))

    async def regenerate(self, message_id: str, *, view: str | None = None) -> PyRun:
        """Ask for another reply in place of an assistant's message."""
        return self._run(await self._view(view).regenerate(message_id))

    async def edit(self, message_id: str, text: str, *, view: str | None = None) -> PyRun:
        """Replace a user's message."""
        content = self._codec.create_user_message(text_message(text))
        return self._run(await self._view(view).edit(message_id, content))

    async def answer_tool(self, run_id: str, tool_call_id: str, **answer: object) -> PyRun:
        """Answer a suspended run's tool call by a fork: ``output=…`` or ``errorMessage=…``."""
        node = self._session.tree.get_run_node(run_id)
        assert node is not None, f"no such run: {run_id}"
        error = answer.get("errorMessage")
        fork = create_tool_result_fork(
            self._codec.get_messages(node.projection),
            parent=node.parent_codec_message_id,
            tool_call_id=tool_call_id,
            supersedes=run_id,
            output=answer.get("output"),
            error_message=None if error is None else str(error),
        )
        return self._run(await self._session.view.send(fork.input, **fork.options))

    async def resume_with_tool(
        self, run_id: str, message_id: str, tool_call_id: str, **answer: object
    ) -> PyRun:
        """Answer a suspended run's tool call so that the same run goes on."""
        if "errorMessage" in answer:
            failure = {"toolCallId": tool_call_id, "message": answer["errorMessage"]}
            event = self._codec.create_tool_result_error(message_id, failure)
        else:
            result = {"toolCallId": tool_call_id, "output": answer["output"]}
            event = self._codec.create_tool_result(message_id, result)
        return self._run(await self._session.view.send([event], run_id=run_id))

    async def resume_with(self, run_id: str, message_id: str, payload: Json) -> PyRun:
        """Answer a suspended run's tool call in the words of the codec."""
        event = self._codec.create_tool_result(message_id, payload)
        return self._run(await self._session.view.send([event], run_id=run_id))

    async def approve_tool(
        self, run_id: str, message_id: str, tool_call_id: str, *, approved: bool, reason: str | None = None
    ) -> PyRun:
        """Approve or deny a suspended run's tool call."""
        payload = {"toolCallId": tool_call_id, "approved": approved}
        if reason is not None:
            payload["reason"] = reason
        event = self._codec.create_tool_approval_response(message_id, payload)
        return self._run(await self._session.view.send([event], run_id=run_id))

    async def cancel(self, run_id: str) -> None:
        """Cancel a run by its id."""
        await self._session.cancel(run_id)

    async def messages(self, *, view: str | None = None) -> list[Json]:
        """Return the visible messages."""
        return copy.deepcopy(show_messages(self._view(view).messages))

    async def runs(self, *, view: str | None = None) -> list[Json]:
        """Return the visible runs."""
        return [show_run(run) for run in self._view(view).runs()]

    async def show(self, *, view: str | None = None) -> Json:
        """Return the visible messages and runs, and whether there are older ones."""
        return {
            "messages": await self.messages(view=view),
            "runs": await self.runs(view=view),
            "hasOlder": self._view(view).has_older,
        }

    async def load_older(self, limit: int | None = None, *, view: str | None = None) -> list[Json]:
        """Reveal older messages and return them."""
        with anyio.fail_after(TIMEOUT):
            return show_messages(await self._view(view).load_older(limit or 10))

    async def load_all(self, *, limit: int | None = None, view: str | None = None) -> list[Json]:
        """Reveal all older messages and return all that is visible then."""
        target = self._view(view)
        with anyio.fail_after(TIMEOUT):
            while limit is not None and target.has_older:
                await target.load_older(limit)
            return show_messages(await target.load_all())

    async def load_until(self, message_id: str, *, view: str | None = None) -> list[Json]:
        """Reveal what is newer than a message and return it."""
        with anyio.fail_after(TIMEOUT):
            newer = await self._view(view).load_until(lambda entry: entry.codec_message_id == message_id)
        return show_messages(newer)

    async def wait_for(self, *, view: str | None = None, **wanted: object) -> None:
        """Wait until the view meets all conditions."""
        target, tree = self._view(view), self._session.tree
        conditions = _conditions(wanted)
        changed = anyio.Event()

        def wake(*_: object) -> None:
            changed.set()

        off = [
            target.on_update(wake),
            target.on_run(wake),
            tree.on_update(wake),
            tree.on_run(wake),
            tree.on_output(wake),
        ]
        try:
            with anyio.move_on_after(TIMEOUT) as scope:
                while not all(condition(self._session, target) for condition in conditions):
                    changed = anyio.Event()
                    await changed.wait()
        finally:
            for take_away in off:
                take_away()
        if scope.cancelled_caught:
            shown = await self.show(view=view)
            raise TimeoutError(f"{self.label} (Python client) did not see {wanted}; it shows {shown}")

    async def branch(self, message_id: str, *, view: str | None = None) -> Json:
        """Return the siblings at a message."""
        handle = self._view(view).branch_selection(message_id)
        return {
            "hasSiblings": handle.has_siblings,
            "siblings": list(handle.siblings),
            "index": handle.index,
            "selected": handle.selected,
        }

    async def select(self, message_id: str, index: int, *, view: str | None = None) -> None:
        """Select a sibling at a message."""
        self._view(view).branch_selection(message_id).select(index)

    async def new_view(self) -> str:
        """Create another view and return its name."""
        name = f"view{len(self._views) + 1}"
        self._views[name] = self._session.create_view()
        return name

    async def reported(self, code: int) -> None:
        """Wait until the session has reported an error with this code."""
        await self._signals.take(f"error {code}")
