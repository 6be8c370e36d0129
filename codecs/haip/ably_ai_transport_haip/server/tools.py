"""Tools that a server carries out for its clients."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import anyio
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from ably_ai_transport_haip.protocol import (
    FinishStatus,
    HaipEnvelope,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipProtocolError,
)
from ably_ai_transport_haip.speaker import HaipSpeaker, ToolProgress

logger = logging.getLogger("ably_ai_transport_haip")


@dataclass(frozen=True)
class ToolCall:
    """A call that is being carried out.

    Attributes:
        id: The call.
        tool: The tool.
        params: What it is called with; the schema has accepted it.
        envelope: Where it came from.
        session: The session that called.
    """

    id: str
    tool: str
    params: Mapping[str, Any]
    envelope: HaipEnvelope
    session: HaipSpeaker

    async def update(
        self, progress: float | None = None, partial: object = None, status: ToolProgress = "RUNNING"
    ) -> None:
        """Tell the client how far the call is.

        Args:
            progress: How much of it is done: 0 to 100.
            partial: What there is so far.
            status: What is being done about it.
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


ToolHandler: TypeAlias = Callable[[ToolCall], Awaitable[object]]


class ServerTool:
    """A tool of a server.

    Args:
        name: Its name.
        handler: Carries a call out; what it returns is the result. It is cancelled when the client cancels.
        description: What it does.
        input_schema: A JSON schema of what it takes; anything where it is left out.

    Raises:
        ValueError: The schema is none.

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
            raise ValueError(f"unable to offer tool '{name}'; its schema is none: {error.message}") from error
        self._validator = validator(self.input_schema)

    def check(self, params: Mapping[str, object]) -> None:
        """Refuse what the schema refuses.

        Args:
            params: What the tool is called with.

        Raises:
            HaipProtocolError: The schema refuses it (INVALID_MESSAGE); the error names the place.
        """
        error = next(iter(self._validator.iter_errors(dict(params))), None)
        if error is not None:
            raise HaipProtocolError(
                f"unable to call tool '{self.name}'; params{error.json_path[1:]}: {error.message}",
                HaipErrorCode.INVALID_MESSAGE,
                {"tool": self.name, "path": error.json_path},
            )


Spawn: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs a coroutine in a task that somebody owns."""


class ToolDesk:
    """Carries out the calls of one session.

    Args:
        tools: The tools there are.
        session: The session.
        answer: Sends messages without waiting.
        spawn: Runs a coroutine in a task that the session owns.
    """

    def __init__(
        self,
        tools: Iterable[ServerTool],
        session: HaipSpeaker,
        answer: Callable[[Sequence[HaipMessage]], None],
        spawn: Spawn,
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._session = session
        self._answer = answer
        self._spawn = spawn
        self._calls: dict[str, anyio.CancelScope] = {}

    def take(self, message: HaipMessage) -> bool:
        """Deal with a message about tools of the server.

        Args:
            message: The message.

        Returns:
            Whether it was one; others are for the application.

        Raises:
            HaipProtocolError: There is no such tool (TOOL_NOT_FOUND), or its schema refuses the call.
        """
        payload = message.payload
        match message.type:
            case HaipEventType.TOOL_LIST if not payload.get("tools"):
                listed: list[dict[str, object]] = [
                    {"name": tool.name, **({"description": tool.description} if tool.description else {})}
                    for tool in self._tools.values()
                ]
                self._reply(HaipEventType.TOOL_LIST, {"tools": listed}, message)
            case HaipEventType.TOOL_SCHEMA if not payload.get("schema"):
                tool = self._tool(payload.get("tool"))
                self._reply(
                    HaipEventType.TOOL_SCHEMA, {"tool": tool.name, "schema": tool.input_schema}, message
                )
            case HaipEventType.TOOL_CALL if self._tools:
                self._take_call(message)
            case HaipEventType.TOOL_CANCEL if payload.get("call_id") in self._calls:
                call_id = str(payload["call_id"])
                self._reply(HaipEventType.TOOL_UPDATE, {"call_id": call_id, "status": "CANCELLING"}, message)
                self._calls[call_id].cancel()
            case _:
                return False
        return True

    def _take_call(self, message: HaipMessage) -> None:
        payload = message.payload
        tool = self._tool(payload.get("tool"))
        params = cast("dict[str, Any]", payload.get("params") or {})
        tool.check(params)
        call = ToolCall(str(payload["call_id"]), tool.name, params, message.envelope, self._session)
        if call.id in self._calls:
            raise HaipProtocolError(
                f"unable to call tool '{tool.name}'; call {call.id} is under way",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        self._calls[call.id] = anyio.CancelScope()
        self._spawn(lambda: self._carry_out(tool, call))

    def _tool(self, name: object) -> ServerTool:
        tool = self._tools.get(str(name))
        if tool is None:
            raise HaipProtocolError(
                f"unable to find tool '{name}'; there are {', '.join(sorted(self._tools)) or 'none'}",
                HaipErrorCode.TOOL_NOT_FOUND,
            )
        return tool

    async def _carry_out(self, tool: ServerTool, call: ToolCall) -> None:
        status: FinishStatus = "CANCELLED"
        result: object = None
        scope = self._calls[call.id]
        try:
            with scope:
                try:
                    result = json.loads(json.dumps(await tool.handler(call)))
                    status = "OK"
                except Exception as error:
                    logger.exception("Tool %s failed", tool.name)
                    status, result = "ERROR", {"error": type(error).__name__}
        finally:
            self._calls.pop(call.id, None)
        envelope = call.envelope
        await self._session.complete_tool(
            envelope.channel or "AGENT", call.id, status, result, envelope.run_id, envelope.thread_id
        )

    def _reply(self, event: HaipEventType, payload: Mapping[str, object], message: HaipMessage) -> None:
        envelope = HaipEnvelope(
            channel=message.envelope.channel,
            run_id=message.envelope.run_id,
            thread_id=message.envelope.thread_id,
        )
        self._answer([HaipMessage(event, payload, envelope)])
