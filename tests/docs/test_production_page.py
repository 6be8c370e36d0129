"""The page on production is right: its file serves, refuses strangers, and stops in order."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec, text_message

from ably_ai_transport import ClientSession, Invocation, NotAllowedError
from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from tests.session.stage import Gated, reply, stream, texts
from tests.support.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "production.md")
TEXT = PAGE.path.read_text(encoding="utf-8")
CODEC = UIMessageCodec()


def service(server: LocalServer, model: Any) -> Any:  # noqa: ANN401
    """Make the service of the page."""
    scope: dict[str, Any] = {}
    exec(compile(PAGE.files()["service.py"], "service.py", "exec"), scope)  # noqa: S102 - the page is ours
    return scope["Service"](server.python_options("agent"), model, connections=2)


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([\w-]+\.md)\)", TEXT):
        assert (PAGE.path.parent / link).exists(), link


def test_its_capabilities_are_those_of_the_page_on_authorization() -> None:
    other = (ROOT / "docs" / "who-may-do-what.md").read_text(encoding="utf-8")
    for who in ("an agent", "a client", "a client that only reads"):
        [row] = re.findall(rf"^\| {who} \| .* \|$", TEXT, re.MULTILINE)
        assert row in other


async def test_the_service_answers_many_users_within_the_limits_of_ably() -> None:
    def model(messages: Sequence[UIMessage]) -> AsyncIterator[UIMessageChunk]:
        return stream(reply(*(f"{number} " for number in range(50))))

    with anyio.fail_after(60):
        async with (
            LocalServer(LocalServerOptions(limits=Limits.ably())) as server,
            service(server, model) as serving,
            anyio.create_task_group() as tasks,
        ):

            async def ask(user: str) -> None:
                client = AblyRealtime(**server.python_options(user))
                async with ClientSession(
                    client, f"chat:{user}:1", codec=CODEC, trusted_agents={"agent"}
                ) as session:
                    run = await session.view.send(CODEC.create_user_message(text_message("Hi")))
                    await serving.answer(run.to_invocation().to_json(), user)
                    assert await run.ended == "complete"
                    assert texts(session.view.messages)[-1] == "".join(f"{number} " for number in range(50))
                await client.close()

            for number in range(6):
                tasks.start_soon(ask, f"user{number}")


async def test_the_service_refuses_a_session_of_somebody_else() -> None:
    async with LocalServer() as server, service(server, stream) as serving:
        invocation = Invocation(input_event_id="e", session_name="chat:alice:1")
        with pytest.raises(NotAllowedError):
            await serving.answer(invocation.to_json(), "mallory")


async def test_the_service_lets_replies_finish_when_it_stops() -> None:
    source = Gated("one ", "two ")

    def model(messages: Sequence[UIMessage]) -> AsyncIterator[UIMessageChunk]:
        return source.chunks()

    with anyio.fail_after(30):
        async with LocalServer() as server, anyio.create_task_group() as tasks:
            client = AblyRealtime(**server.python_options("alice"))
            async with ClientSession(client, "chat:alice:1", codec=CODEC) as session:
                run = await session.view.send(CODEC.create_user_message(text_message("Hi")))
                async with service(server, model) as serving:
                    tasks.start_soon(serving.answer, run.to_invocation().to_json(), "alice")
                    await source.reached.wait()
                    source.gate.set()
                assert await run.ended == "complete"
                assert texts(session.view.messages)[-1] == "one two "
            await client.close()
