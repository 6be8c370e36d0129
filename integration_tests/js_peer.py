"""The JS package's client and agent, as processes that a test drives.

Example:
    async with JsAgent(server) as agent, JsClient(server, client_id="alice", channel="chat:1") as alice:
        run = await alice.send("hi")
        await agent.serve(run.invocation, reply("Hello"))
        await alice.wait_for(status="complete")
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from integration_tests.js_process import Json, JsProcess, Request
from integration_tests.streams import answer_program
from integration_tests.vocabularies import CodecName


class JavaScriptServer(Protocol):
    """A server that says how an Ably client in JavaScript reaches it."""

    def javascript_options(self, client_id: str, **overrides: object) -> dict[str, object]:
        """Return the options for ``new Ably.Realtime(…)``."""
        ...


@dataclass(frozen=True)
class JsSteer:
    """A steering message on its way.

    Attributes:
        serial: The serial that the channel gave it.
    """

    client: "JsClient"
    handle: str
    serial: str | None

    async def outcome(self) -> Json:
        """Wait until the run has ended and tell whether the agent took the message in."""
        return await self.client.call("steerOutcome", steer=self.handle)


@dataclass(frozen=True)
class JsRun:
    """A run that a JavaScript client asked for.

    Attributes:
        invocation: The body for the agent's endpoint.
    """

    client: "JsClient"
    handle: str
    input_event_id: str
    input_codec_message_id: str
    invocation: Json

    async def started(self) -> str:
        """Wait until the agent has started the run; return the run's id."""
        return (await self.client.call("started", run=self.handle))["runId"]

    async def cancel(self) -> None:
        """Ask the agent to stop, whether or not the run has begun."""
        await self.client.call("cancel", run=self.handle)

    async def steer(self, text: str) -> JsSteer:
        """Send a message into the run."""
        sent = await self.client.call("steer", run=self.handle, text=text)
        return JsSteer(self.client, sent["steer"], sent["serial"])

    async def state(self) -> Json:
        """Return run id, status, error and messages as the client sees them."""
        return await self.client.call("run", run=self.handle)


class JsClient(JsProcess):
    """A client session in JavaScript, connected for as long as the ``async with`` lasts.

    Methods that take ``view`` mean the session's own view where it is None.
    """

    def __init__(
        self,
        server: JavaScriptServer,
        *,
        client_id: str,
        channel: str,
        binary: bool = False,
        session: Mapping[str, object] | None = None,
        may_have_unhandled: bool = False,
        codec: CodecName = "vercel",
        **options: object,
    ) -> None:
        super().__init__("client.mjs", codec, label=client_id, may_have_unhandled=may_have_unhandled)
        self.channel = channel
        self._session = session
        self._options = server.javascript_options(client_id=client_id, useBinaryProtocol=binary, **options)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            await self.call("connect", options=self._options, channel=self.channel, session=self._session)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    def _run(self, sent: Json) -> JsRun:
        return JsRun(self, sent["run"], sent["inputEventId"], sent["inputCodecMessageId"], sent["invocation"])

    async def send(
        self,
        text: str | None = None,
        *,
        message: Json | None = None,
        view: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> JsRun:
        """Send a user's message, given as its text or as a whole UI message."""
        sent = await self.call("send", text=text, message=message, view=view, options=options)
        return self._run(sent)

    async def regenerate(self, message_id: str, *, view: str | None = None) -> JsRun:
        """Ask for another reply in place of an assistant's message."""
        return self._run(await self.call("regenerate", messageId=message_id, view=view))

    async def edit(self, message_id: str, text: str, *, view: str | None = None) -> JsRun:
        """Replace a user's message."""
        return self._run(await self.call("edit", messageId=message_id, text=text, view=view))

    async def answer_tool(self, run_id: str, tool_call_id: str, **answer: object) -> JsRun:
        """Answer a suspended run's tool call by a fork: ``output=…`` or ``errorMessage=…``."""
        return self._run(await self.call("answerTool", runId=run_id, toolCallId=tool_call_id, **answer))

    async def resume_with_tool(
        self, run_id: str, message_id: str, tool_call_id: str, **answer: object
    ) -> JsRun:
        """Answer a suspended run's tool call so that the same run goes on."""
        sent = await self.call(
            "resumeWithTool", runId=run_id, messageId=message_id, toolCallId=tool_call_id, **answer
        )
        return self._run(sent)

    async def resume_with(self, run_id: str, message_id: str, payload: Json) -> JsRun:
        """Answer a suspended run's tool call in the words of the codec."""
        sent = await self.call("resumeWith", runId=run_id, messageId=message_id, payload=payload)
        return self._run(sent)

    async def approve_tool(
        self,
        run_id: str,
        message_id: str,
        tool_call_id: str,
        *,
        approved: bool,
        reason: str | None = None,
    ) -> JsRun:
        """Approve or deny a suspended run's tool call."""
        sent = await self.call(
            "approveTool",
            runId=run_id,
            messageId=message_id,
            toolCallId=tool_call_id,
            approved=approved,
            reason=reason,
        )
        return self._run(sent)

    async def cancel(self, run_id: str) -> None:
        """Cancel a run by its id."""
        await self.call("cancel", runId=run_id)

    async def messages(self, *, view: str | None = None) -> list[Json]:
        """Return the visible messages: ``{"codecMessageId": …, "message": …}``."""
        return await self.call("messages", view=view)

    async def runs(self, *, view: str | None = None) -> list[Json]:
        """Return the visible runs."""
        return await self.call("runs", view=view)

    async def show(self, *, view: str | None = None) -> Json:
        """Return the visible messages and runs, and whether there are older ones."""
        return await self.call("show", view=view)

    async def load_older(self, limit: int | None = None, *, view: str | None = None) -> list[Json]:
        """Reveal older messages and return them."""
        return await self.call("loadOlder", limit=limit, view=view)

    async def load_all(self, *, limit: int | None = None, view: str | None = None) -> list[Json]:
        """Reveal all older messages and return all that is visible then."""
        return await self.call("loadAll", limit=limit, view=view)

    async def load_until(self, message_id: str, *, view: str | None = None) -> list[Json]:
        """Reveal what is newer than a message and return it."""
        return await self.call("loadUntil", messageId=message_id, view=view)

    async def wait_for(self, *, view: str | None = None, **wanted: object) -> None:
        """Wait until the view meets all of these conditions.

        Args:
            view: The view.
            wanted: ``messages=n``, ``runs=n``, ``settled=n`` (at least so many messages, runs, runs that are
                not active), ``text=s``, ``reply=s`` (a message, an assistant's message contains it),
                ``status=s`` (a run has it), ``ended=id`` (that run, visible or not, is not active any more).
        """
        await self.call("waitFor", view=view, **wanted)

    async def branch(self, message_id: str, *, view: str | None = None) -> Json:
        """Return the siblings at a message."""
        return await self.call("branch", messageId=message_id, view=view)

    async def select(self, message_id: str, index: int, *, view: str | None = None) -> None:
        """Select a sibling at a message."""
        await self.call("select", messageId=message_id, index=index, view=view)

    async def new_view(self) -> str:
        """Create another view and return its name."""
        return (await self.call("newView"))["view"]

    async def reported(self, code: int) -> None:
        """Wait until the session has reported an error with this code."""
        while (await self.event("error"))["error"]["code"] != code:
            pass


class Serving:
    """An invocation that an agent is serving."""

    def __init__(self, request: Request) -> None:
        self._request = request

    async def result(self) -> Json:
        """Wait until the program has been played; return what became of the run."""
        return await self._request.result()


class JsAgent(JsProcess):
    """An agent in JavaScript. Each invocation is served in a session and on a connection of its own.

    Attributes:
        client_id: Who the agent is on the channel.
    """

    def __init__(
        self,
        server: JavaScriptServer,
        *,
        client_id: str = "agent",
        binary: bool = False,
        may_have_unhandled: bool = False,
        codec: CodecName = "vercel",
        **options: object,
    ) -> None:
        super().__init__("agent.mjs", codec, label=client_id, may_have_unhandled=may_have_unhandled)
        self.client_id = client_id
        self._options = server.javascript_options(client_id=client_id, useBinaryProtocol=binary, **options)
        self._served = 0

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.call("configure", options=self._options)
        return self

    async def start_serving(
        self, invocation: Mapping[str, str], program: Sequence[Json], **how: object
    ) -> Serving:
        """Begin to serve an invocation; the steps of a program are those of ``agent.mjs``."""
        self._served += 1
        name = f"serve{self._served}"
        request = await self.start(
            "serve", name=name, invocation=dict(invocation), program=list(program), **how
        )
        return Serving(request)

    async def serve(self, invocation: Mapping[str, str], script: Iterable[Json], **how: object) -> Json:
        """Answer an invocation with a script and wait until that is done."""
        serving = await self.start_serving(invocation, answer_program(script), **how)
        return await serving.result()

    async def open_session(self, channel: str) -> str:
        """Open a session that serves several invocations; pass its name as ``session``."""
        return (await self.call("openSession", channel=channel))["session"]

    async def close_session(self, name: str, how: str = "end") -> None:
        """End or detach a session."""
        await self.call("closeSession", session=name, how=how)

    async def open(self, gate: str) -> None:
        """Open a gate of a script."""
        await self.call("open", gate=gate)

    async def at_gate(self, gate: str) -> None:
        """Wait until a script waits at a gate."""
        await self.event("gate", name=gate)

    async def refused(self) -> None:
        """Wait until a cancel has been refused."""
        await self.event("cancel-refused")

    async def heard_cancel(self) -> None:
        """Wait until an open session has heard a request to cancel."""
        await self.event("cancel-heard")

    async def steered(self) -> None:
        """Wait until a run has been sent a message."""
        await self.event("steer")
