"""An agent that calls tools, and asks for approval before one of them."""

from typing import cast

from ably_ai_transport_vercel import UIAgentRun, UIMessageChunk, verified_approvals

from tests.session.stage import reply, stream


def call(call_id: str, tool: str, *more: UIMessageChunk, **fields: object) -> list[UIMessageChunk]:
    """Return a reply that calls a tool, followed by further chunks of its step."""
    start = {"toolCallId": call_id, "toolName": tool, **fields}
    return [
        {"type": "start"},
        {"type": "start-step"},
        cast("UIMessageChunk", {"type": "tool-input-start", **start}),
        cast("UIMessageChunk", {"type": "tool-input-available", **start}),
        *more,
        {"type": "finish-step"},
        {"type": "finish"},
    ]


ASK: UIMessageChunk = {"type": "tool-approval-request", "toolCallId": "call-1", "approvalId": "a1"}
PAY = call("call-1", "pay", ASK, input={"eur": 1})


async def has_tools(run: UIAgentRun) -> bool:
    """Tell whether the conversation has a tool call."""
    messages = [entry.message for entry in await run.view.load_all()]
    return any("toolCallId" in part for message in messages for part in message["parts"])


async def pay(run: UIAgentRun) -> None:
    """Ask for approval, then pay if it was given, as the agent verifies it."""
    if not await has_tools(run):
        await run.pipe(stream(PAY))
        await run.suspend()
        return
    allowed = [
        f"{paid.tool_name} {paid.input} for {paid.approved_by}" for paid in verified_approvals(run.events())
    ]
    if not allowed:
        await run.pipe(stream(reply("Not paid.")))
        return
    output: UIMessageChunk = {"type": "tool-output-available", "toolCallId": "call-1", "output": "paid"}
    await run.pipe(stream([{"type": "start"}, output, *reply(*allowed)[1:]]))
