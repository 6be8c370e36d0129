"""Earlier turns that were not completed, as later agents see them."""

import pytest

from ably_ai_transport import AgentSession, InvalidArgumentError
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream, texts


@pytest.mark.parametrize("unfinished", ["keep", "leave-out"])
@pytest.mark.parametrize("how", ["error", "cancelled", "lost", "reaped", "suspended"])
async def test_a_turn_that_was_not_completed(unfinished: str, how: str) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        alice.on_error(lambda _: None)
        session.on_error(lambda _: None)
        first = await alice.view.send(said("one"))
        await answer(hub, session, first.to_invocation(), "first")
        second = await alice.view.send(said("two"))
        lost = agent(hub)
        await lost.connect()
        run = lost.create_run(second.to_invocation())
        await run.start()
        await run.pipe(stream(reply("half a reply")[:4]))
        if how == "suspended":
            await run.suspend()
        elif how in ("error", "cancelled"):
            await run.end(how)  # type: ignore[arg-type]
        await lost.detach()
        if how == "reaped":
            await alice.end_run(run.run_id)
        await hub.settle()
        third = await alice.view.send(said("three"))
        later = AgentSession(
            hub.client("agent"),
            NAME,
            codec=CODEC,
            unfinished_turns=unfinished,  # type: ignore[arg-type]
        )
        async with later, later.create_run(third.to_invocation()) as work:
            seen = texts(await work.view.load_all())
        kept = unfinished == "keep" and how != "suspended"
        assert seen == ["one", "first", *(["two", "half a reply"] if kept else []), "three"]


def test_another_word_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="unfinished_turns"):
        AgentSession(MemoryHub().client("agent"), NAME, codec=CODEC, unfinished_turns="drop")  # type: ignore[arg-type]
