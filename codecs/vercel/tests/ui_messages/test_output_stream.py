import pytest
from ably_ai_transport_vercel import UIMessageChunk, create_run_output_stream

from ably_ai_transport import AITransportError
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import agent, client, reply, said, stream


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def test_the_chunks_of_a_run_come_as_they_were_written(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        other = await alice.view.send(said("something else"))
        run = await alice.view.send(said("hi"))
        async with create_run_output_stream(alice, run) as chunks:
            for asked, text in ((other, "not this"), (run, "Hello")):
                async with session.create_run(asked.to_invocation()) as work:
                    await work.pipe(stream(reply(text, "!")))
            seen = [chunk async for chunk in chunks]
        kinds = [chunk["type"] for chunk in seen]
        assert kinds == [chunk["type"] for chunk in reply("Hello", "!")]
        assert "".join(str(chunk.get("delta", "")) for chunk in seen) == "Hello!"
        assert chunks.closed


async def test_a_run_without_a_last_chunk_ends_the_stream_with_itself(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        chunks = create_run_output_stream(alice, run)
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(reply("half")[:-3]))
        assert [chunk["type"] async for chunk in chunks][:2] == ["start", "start-step"]


async def test_a_suspended_run_ends_the_stream_with_its_last_chunk(hub: MemoryHub) -> None:
    last: list[UIMessageChunk] = [{"type": "start"}, {"type": "finish", "finishReason": "tool-calls"}]
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        chunks = create_run_output_stream(alice, run)
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(last))
            await work.suspend()
        assert [chunk["type"] async for chunk in chunks] == ["start", "finish"]


async def test_what_the_session_reports_is_raised(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        run = await alice.view.send(said("hi"))
        chunks = create_run_output_stream(alice, run)
        hub.faults.drop_continuity(client_id="alice")
        await hub.settle()
        with pytest.raises(AITransportError) as caught:
            await anext(chunks)
        assert caught.value.code == 104006
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_closing_ends_the_stream(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        chunks = create_run_output_stream(alice, await alice.view.send(said("hi")))
        chunks.close()
        chunks.close()
        assert [chunk async for chunk in chunks] == []


async def test_a_request_that_failed_fails_the_stream_after_the_chunks_so_far(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        chunks = create_run_output_stream(alice, run)
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(reply("half")[:2]))
            await hub.settle()
            chunks.error(ConnectionError("502 Bad Gateway"))
            chunks.error(ConnectionError("too late"))
        assert [(await anext(chunks))["type"] for _ in range(2)] == ["start", "start-step"]
        with pytest.raises(ConnectionError, match="502"):
            await anext(chunks)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
