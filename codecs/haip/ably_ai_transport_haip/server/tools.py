"""Server tools: the tools that a server offers, and the calls of one session."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import anyio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from ably_ai_transport_haip.endpoint import HaipEndpoint, ToolProgress
from ably_ai_transport_haip.endpoint.hooks import call as call_hook
from ably_ai_transport_haip.protocol import (
    FinishStatus,
    HaipEnvelope,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
)

logger = logging.getLogger("ably_ai_transport_haip.server")


@dataclass(frozen=True)
class ToolCall:
    """A running tool call.

    Attributes:
        id: The id of the call, a UUID.
        tool: The name of the tool.
        params: The parameters; they fit the schema of the tool.
        envelope: The envelope of the request.
        session: The session of the caller.
    """

    id: str
    tool: str
    params: Mapping[str, Any]
    envelope: HaipEnvelope
    session: HaipEndpoint

    async def update(
        self, progress: float | None = None, partial: object = None, status: ToolProgress = "RUNNING"
    ) -> None:
        """Report the progress of the call to the client.

        Args:
            progress: The progress in percent, 0 to 100.
            partial: A partial result; any JSON value.
            status: The current status.
        """
        envelope = self.envelope
        await self.session.update_tool(
            envelope.channel or "AGENT",
            self.id,
            status,
            progress,
            partial,
            envelope.run_id,
            envelope.thread_id,
        )


ToolHandler: TypeAlias = Callable[[ToolCall], object]
"""A plain or coroutine function that returns the result of a call; any JSON value."""


class ServerTool:
    """A tool of a server.

    Args:
        name: The name.
        handler: A plain or coroutine function that returns the result of a call. A coroutine is cancelled
            when the client cancels the call. An exception ends the call with status ``ERROR``; it is logged
            with its traceback, and the client is told only its type.
        description: A description for models and people.
        input_schema: A JSON schema of the parameters; any object by default.

    Raises:
        ValueError: The schema is no valid JSON schema.

    Example:
        >>> async def add(call: ToolCall) -> object:
        ...     return {"sum": call.params["a"] + call.params["b"]}
        >>> tool = ServerTool("add", add, "Adds two numbers", {"required": ["a", "b"]})
    """

    def __init__(
        self,
        name: str,
        handler: ToolHandler,
        description: str = "",
        input_schema: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.handler = handler
        self.description = description
        self.input_schema = dict(input_schema or {})
        validator = cast("Any", Draft202012Validator)
        try:
            validator.check_schema(self.input_schema)
        except SchemaError as error:
            raise ValueError(
                f"unable to offer tool '{name}'; its schema is invalid: {error.message}"
            ) from error
        self._validator = validator(self.input_schema)

    def check(self, params: Mapping[str, object]) -> None:
        """Check parameters against the schema.

        Args:
            params: The parameters of a call.

        Raises:
            HaipProtocolError: The schema refuses them (INVALID_MESSAGE); the error names the place.
        """
        try:
            error = next(iter(self._validator.iter_errors(dict(params))), None)
        except RecursionError:
            raise HaipProtocolError(
                f"unable to call tool '{self.name}'; params are nested too deeply for its schema",
                HaipErrorCode.INVALID_MESSAGE,
                {"tool": self.name},
            ) from None
        if error is not None:
            raise HaipProtocolError(
                f"unable to call tool '{self.name}'; params{error.json_path[1:]}: {error.message}",
                HaipErrorCode.INVALID_MESSAGE,
                {"tool": self.name, "path": error.json_path},
            )


@dataclass(frozen=True, slots=True)
class _Running:
    scope: anyio.CancelScope
    task: asyncio.Task[None] = field(repr=False)


class ToolDesk:
    """The tool calls of one session, each in a task of its own.

    Args:
        tools: The tools of the server.
        session: The session.
    """

    def __init__(self, tools: Iterable[ServerTool], session: HaipEndpoint) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._session = session
        self._calls: dict[str, _Running] = {}

    def take(self, message: HaipMessage) -> list[HaipMessage] | None:
        """Handle a message about the tools of the server.

        Args:
            message: The message.

        Returns:
            The replies to send now; None if the message is for the application.

        Raises:
            HaipProtocolError: The tool is unknown (TOOL_NOT_FOUND), its schema refuses the parameters
                (INVALID_MESSAGE), or the call is already running (PROTOCOL_VIOLATION).
        """
        payload = message.payload
        match message.type:
            case HaipEventType.TOOL_LIST if not payload.get("tools"):
                listed: list[dict[str, object]] = [
                    {"name": tool.name, **({"description": tool.description} if tool.description else {})}
                    for tool in self._tools.values()
                ]
                return [_reply(HaipEventType.TOOL_LIST, {"tools": listed}, message)]
            case HaipEventType.TOOL_SCHEMA if not payload.get("schema"):
                tool = self._tool(payload.get("tool"))
                described = {"tool": tool.name, "schema": tool.input_schema}
                return [_reply(HaipEventType.TOOL_SCHEMA, described, message)]
            case HaipEventType.TOOL_CALL if self._tools:
                self._start(message)
                return []
            case HaipEventType.TOOL_CANCEL if payload.get("call_id") in self._calls:
                call_id = str(payload["call_id"])
                self._calls[call_id].scope.cancel()
                update = {"call_id": call_id, "status": "CANCELLING"}
                return [_reply(HaipEventType.TOOL_UPDATE, update, message)]
            case _:
                return None

    def cancel(self) -> None:
        """Cancel all calls. They get no result."""
        for running in self._calls.values():
            running.task.cancel()

    async def join(self) -> None:
        """Wait until no call runs."""
        tasks = [running.task for running in self._calls.values()]
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, message: HaipMessage) -> None:
        payload = message.payload
        tool = self._tool(payload.get("tool"))
        params = cast("dict[str, Any]", payload.get("params") or {})
        tool.check(params)
        call = ToolCall(str(payload["call_id"]), tool.name, params, message.envelope, self._session)
        if call.id in self._calls:
            raise HaipProtocolError(
                f"unable to call tool '{tool.name}'; call {call.id} is already running",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        scope = anyio.CancelScope()
        task = asyncio.get_running_loop().create_task(self._run(tool, call, scope))
        self._calls[call.id] = _Running(scope, task)
        task.add_done_callback(lambda _: self._calls.pop(call.id, None))

    def _tool(self, name: object) -> ServerTool:
        tool = self._tools.get(str(name))
        if tool is None:
            raise HaipProtocolError(
                f"unable to find tool '{name}'; known tools: {', '.join(sorted(self._tools)) or 'none'}",
                HaipErrorCode.TOOL_NOT_FOUND,
            )
        return tool

    async def _run(self, tool: ServerTool, call: ToolCall, scope: anyio.CancelScope) -> None:
        known = {"haip_session": self._session.session_id, "run": call.envelope.run_id}
        logger.debug("Tool %s: call %s", tool.name, call.id, extra=known)
        status: FinishStatus = "CANCELLED"
        result: object = None
        with scope:
            try:
                result = json.loads(json.dumps(await call_hook(tool.handler, call), allow_nan=False))
                status = "OK"
            except Exception as error:  # a user's code
                logger.exception("Tool %s failed", tool.name, extra=known)
                status, result = "ERROR", {"error": type(error).__name__}
        logger.debug("Tool %s: call %s is %s", tool.name, call.id, status, extra=known)
        envelope = call.envelope
        try:
            await self._session.complete_tool(
                envelope.channel or "AGENT", call.id, status, result, envelope.run_id, envelope.thread_id
            )
        except Exception:  # the result of this task is never read, so its failure is logged here
            logger.exception("Unable to send the result of tool %s", tool.name, extra=known)


def _reply(event: HaipEventType, payload: Mapping[str, object], message: HaipMessage) -> HaipMessage:
    envelope = HaipEnvelope(
        channel=message.envelope.channel,
        run_id=message.envelope.run_id,
        thread_id=message.envelope.thread_id,
    )
    return HaipMessage(event, payload, envelope)
