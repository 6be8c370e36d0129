"""A conversation with everything in it, as the messages of its channel."""

from collections.abc import Iterable
from dataclasses import dataclass

from ably_ai_transport_vercel import UIMessage, UIMessageChunk, VercelInput, VercelProjection

from ably_ai_transport.conversation import Navigable, Tree, ViewState
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import InboundMessage
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream


@dataclass(frozen=True)
class Recorded:
    """The same conversation twice.

    Attributes:
        live: The deliveries to a client that was there from the beginning.
        history: The history afterwards, oldest first.
    """

    live: list[InboundMessage]
    history: list[InboundMessage]


async def record() -> Recorded:
    """Hold a conversation with edits, regenerations, retried steps, a suspended run and an error."""
    hub = MemoryHub()
    live: list[InboundMessage] = []
    ear = hub.client("ear").open_channel(NAME)
    ear.subscribe(live.append)
    await ear.attach()
    async with client(hub) as alice, agent(hub) as session:
        first = await alice.view.send(said("one"))
        await answer(hub, session, first.to_invocation(), "first ", "answer")
        second = await alice.view.send(said("two"))
        await answer(hub, session, second.to_invocation(), "second")
        edit = await alice.view.edit(second.input_codec_message_id, said("two, better"))
        await answer(hub, session, edit.to_invocation(), "second, better")
        again = await alice.view.regenerate(alice.view.messages[-1].codec_message_id)
        await answer(hub, session, again.to_invocation(), "second, ", "again")
        third = await alice.view.send(said("three"))
        async with session.create_run(third.to_invocation()) as run:
            async with run.create_step(step_id="plan") as step:
                await step.pipe(stream(reply("wrong")))
                await step.end("failed")
            async with run.create_step() as step:
                await step.pipe(stream(reply("right")))
        await hub.settle()
        fourth = await alice.view.send(said("four"))
        run = session.create_run(fourth.to_invocation())
        await run.start()
        await run.pipe(stream(reply("let me ask")))
        await run.suspend()
        await hub.settle()
        more = await alice.view.send(said("the answer"), run_id=fourth.run_id)
        await answer(hub, session, more.to_invocation(), "thanks")
        fifth = await alice.view.send(said("five"))
        run = session.create_run(fifth.to_invocation())
        await run.start()
        await run.pipe(stream(reply("half")[:4]))
        await run.end("error", error=ValueError("x"))
        await hub.settle()
    await ear.detach()
    ear.release()
    return Recorded(live, hub.messages(NAME))


class Reader:
    """A tree, fed by hand, and what a view on it shows."""

    def __init__(self) -> None:
        self.tree: Tree[VercelInput, UIMessageChunk, VercelProjection, UIMessage] = Tree(CODEC)

    def read(self, messages: Iterable[InboundMessage]) -> "Reader":
        """Take messages in."""
        for message in messages:
            self.tree.apply(message)
        return self

    @property
    def view(self) -> ViewState[VercelInput, UIMessageChunk, VercelProjection, UIMessage]:
        """A view of somebody who has chosen nothing."""
        return ViewState(self.tree, Navigable(self.tree))

    def shows(self) -> object:
        """Return the messages, runs and branches that a view shows."""
        view = self.view
        branches = {
            node.key: (
                [sibling.key for sibling in self.tree.get_sibling_nodes(node.key)],
                [(m.codec_message_id, m.message) for m in CODEC.get_messages(node.projection)],
            )
            for node in self.tree.index
        }
        runs = [
            (
                run.run_id,
                run.client_id,
                run.invocation_id,
                run.status,
                run.error and run.error.code,
                run.steps,
            )
            for run in view.runs()
        ]
        return [(m.codec_message_id, m.message) for m in view.messages], runs, branches
