"""Log records of sessions: lifecycle at info, each message at debug, with their context; never a secret."""

import logging
from typing import Any

import pytest
from ably import AblyRealtime

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.local import LocalServer
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream


def lifecycle(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno == logging.INFO]


async def test_a_run_can_be_followed_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    hub = MemoryHub()
    with caplog.at_level(logging.DEBUG, "ably_ai_transport"):
        async with client(hub) as alice, agent(hub) as session:
            asked = await alice.view.send(said("hi"))
            run = session.create_run(asked.to_invocation())
            async with run, run.create_step(step_id="think") as step:
                await step.pipe(stream(reply("hello")))
            await hub.settle()
    records = [record for record in caplog.records if record.name == "ably_ai_transport.session"]
    said_of_run = [
        (record.getMessage(), vars(record).get("step"))
        for record in records
        if vars(record).get("run") == run.run_id and record.levelno == logging.INFO
    ]
    assert said_of_run == [
        ("run-start published", None),
        ("step-start published", "think"),
        ("step-end published", "think"),
        ("run-end published", None),
    ]
    assert {vars(record)["session"] for record in records} == {NAME}
    assert all(
        vars(record)["serial"]
        for record in records
        if record.getMessage().endswith("published") and "run" in vars(record)
    )
    assert "session connected" in lifecycle(records)
    assert "session closed" in lifecycle(records)


async def test_a_start_that_fails_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    hub = MemoryHub()
    hub.faults.refuse_attach()
    session = client(hub)
    with caplog.at_level(logging.INFO, "ably_ai_transport"), pytest.raises(Exception, match="attach"):
        await session.connect()
    levels = {record.levelno for record in caplog.records}
    assert logging.ERROR in levels
    assert "session failed" in lifecycle(caplog.records)


async def test_a_session_logs_where_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    hub = MemoryHub()
    mine = logging.getLogger("my.application")
    with caplog.at_level(logging.DEBUG):
        async with ClientSession(hub.client("alice"), NAME, codec=CODEC, logger=mine) as alice:
            await alice.view.send(said("hi"))
    names = {record.name for record in caplog.records if vars(record).get("session") == NAME}
    assert "my.application" in names
    assert "ably_ai_transport.session" not in names


async def test_no_record_holds_a_key_or_a_token(caplog: pytest.LogCaptureFixture) -> None:
    async with LocalServer() as server:
        options: dict[str, Any] = server.python_options(client_id="alice")
        key = str(options["key"])
        secret = key.split(":", 1)[1]
        with caplog.at_level(logging.DEBUG):
            # The SDK logs tokens; the page on logging says how to quiet it.
            logging.getLogger("ably").setLevel(logging.WARNING)
            try:
                ably = AblyRealtime(**options)
                async with (
                    ClientSession(ably, NAME, codec=CODEC) as alice,
                    AgentSession(ably, NAME, codec=CODEC) as session,
                ):
                    asked = await alice.view.send(said("hi"))
                    async with session.create_run(asked.to_invocation()) as run:
                        await run.pipe(stream(reply("hello")))
                    await asked.ended
                    shown = f"{alice!r}{session!r}{asked!r}{run!r}{alice.view!r}{alice.tree!r}{asked.ended!r}"
                await ably.close()
            finally:
                logging.getLogger("ably").setLevel(logging.NOTSET)
    ours = [r for r in caplog.records if r.name.startswith("ably_ai_transport")]
    assert ours
    for record in ours:
        assert secret not in f"{record.getMessage()}{vars(record)}"
    assert secret not in shown


async def test_reprs_say_what_a_thing_is() -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        assert repr(alice) == "<ClientSession 'chat:1' connected>"
        assert repr(asked) == "<ClientRun not started active>"
        assert repr(asked.ended) == "<Latch pending>"
        await answer(hub, session, asked.to_invocation(), "hello")
        assert repr(asked) == f"<ClientRun {asked.run_id} complete>"
        assert repr(asked.ended) == "<Latch 'complete'>"
        assert repr(alice.view) == "<ClientView 2 nodes>"
    assert repr(session) == "<AgentSession 'chat:1' closed>"
