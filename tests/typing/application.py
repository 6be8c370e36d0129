"""Code as an application writes it: an agent and a client with UI messages.

It does not run. Type checkers read it: pyright basic, pyright strict and mypy strict find no error in it.
"""

from collections.abc import AsyncIterator, Sequence

import httpx
from ably import AblyRealtime
from ably_ai_transport_vercel import (
    ForkOptions,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIAgentRun,
    UIClientRun,
    UIClientSession,
    UIMessage,
    UIMessageChunk,
    UIMessageCodec,
    create_tool_result_fork,
    is_data_chunk,
    is_data_part,
    is_file_part,
    is_finish_chunk,
    is_reasoning_part,
    is_source_document_part,
    is_source_url_part,
    is_step_start_part,
    is_text_delta_chunk,
    is_text_part,
    is_tool_input_available_chunk,
    is_tool_part,
    pending_tool_calls,
    text_message,
    text_of,
    tool_name,
    vercel_run_outcome,
)

from ably_ai_transport import AgentSession, ClientSession, Invocation

CODEC = UIMessageCodec()


# The agent


async def model(messages: Sequence[UIMessage]) -> AsyncIterator[UIMessageChunk]:
    """Stand in for a model."""
    yield {"type": "start"}
    yield {"type": "text-start", "id": "t"}
    yield {"type": "text-delta", "id": "t", "delta": text_of(messages[-1])}
    yield {"type": "text-end", "id": "t"}
    yield {"type": "data-place", "data": {"city": "Lisbon"}}
    yield {"type": "tool-input-available", "toolCallId": "c", "toolName": "weather", "input": {"at": 1}}
    yield {"type": "finish", "finishReason": "tool-calls"}


async def answer(ably: AblyRealtime, body: dict[str, str]) -> None:
    """Answer one invocation."""
    invocation = Invocation.from_json(body)
    async with (
        AgentSession(ably, invocation.session_name, codec=CODEC) as session,
        session.create_run(invocation) as run,
    ):
        messages = [entry.message for entry in await run.view.load_all()]
        result = await run.pipe(logged(model(messages)))
        outcome = await vercel_run_outcome(result, "tool-calls")
        if outcome.reason == "suspend":
            await run.suspend()
        else:
            await finish(run)


async def finish(run: UIAgentRun) -> None:
    """End a run."""
    await run.end("complete")


async def logged(chunks: AsyncIterator[UIMessageChunk]) -> AsyncIterator[UIMessageChunk]:
    """Look at the chunks on their way."""
    async for chunk in chunks:
        if is_text_delta_chunk(chunk):
            log(chunk["delta"])
        elif is_tool_input_available_chunk(chunk):
            log(f"{chunk['toolName']}({chunk.get('input')})")
        elif is_data_chunk(chunk):
            log(f"{chunk['type']}: {chunk['data']}")
        elif is_finish_chunk(chunk):
            log(chunk.get("finishReason", "stop"))
        yield chunk


def log(line: str) -> None:
    """Stand in for a log."""


# The client


def render(message: UIMessage) -> str:
    """Draw a message."""
    lines: list[str] = []
    for part in message["parts"]:
        if is_text_part(part):
            lines.append(part["text"])
        elif is_reasoning_part(part):
            lines.append(f"({part['text']})")
        elif is_file_part(part):
            lines.append(f"[{part.get('filename', part['url'])}: {part['mediaType']}]")
        elif is_tool_part(part):
            approval = part.get("approval")
            asked = "" if approval is None else f" approval {approval['id']}"
            lines.append(f"{tool_name(part)} {part['state']}{asked}: {part.get('output')}")
        elif is_data_part(part):
            lines.append(f"{part['type']}: {part['data']}")
        elif is_source_url_part(part):
            lines.append(part.get("title", part["url"]))
        elif is_source_document_part(part):
            lines.append(f"{part['sourceId']}: {part['mediaType']}")
        elif is_step_start_part(part):
            lines.append("---")
    return "\n".join(lines)


def texts(message: UIMessage) -> list[str]:
    """Read the texts."""
    return [part["text"] for part in message["parts"] if is_text_part(part)]


async def ask(ably: AblyRealtime, http: httpx.AsyncClient, question: str) -> str:
    """Ask, follow the reply, and answer its tool calls."""
    async with ClientSession(ably, "chat:42", codec=CODEC) as session:
        run = await session.view.send(CODEC.create_user_message(text_message(question)))
        await http.post("/api/chat", json=run.to_invocation().to_json())
        async for messages in session.view.updates():
            shown = [render(entry.message) for entry in messages]
            log("\n".join(shown))
            if run.ended.is_settled:
                break
        await answer_tools(session, run)
        return text_of(session.view.messages[-1].message)


async def answer_tools(session: UIClientSession, run: UIClientRun) -> None:
    """Send a result for each open call: an output, a failure, an approval."""
    entry = session.view.messages[-1]
    for call in pending_tool_calls([entry.message]):
        if call.tool_name == "weather":
            result: ToolResultPayload = {"toolCallId": call.tool_call_id, "output": {"degrees": 21}}
            event = CODEC.create_tool_result(entry.codec_message_id, result)
        else:
            failure: ToolResultErrorPayload = {"toolCallId": call.tool_call_id, "message": "no such tool"}
            event = CODEC.create_tool_result_error(entry.codec_message_id, failure)
        await session.view.send([event], run_id=run.run_id)
    for part in entry.message["parts"]:
        if is_tool_part(part) and part["state"] == "approval-requested":
            approved = CODEC.create_tool_approval_response(
                entry.codec_message_id, {"toolCallId": part["toolCallId"], "approved": True}
            )
            await session.view.send([approved], run_id=run.run_id)


async def fork_tools(session: UIClientSession, run: UIClientRun, tool_call_id: str) -> None:
    """Answer a call by a fork."""
    fork = create_tool_result_fork(
        session.view.messages, parent=None, tool_call_id=tool_call_id, supersedes=run.run_id, output=21
    )
    options: ForkOptions = fork.options
    await session.view.send(fork.input, **options)
