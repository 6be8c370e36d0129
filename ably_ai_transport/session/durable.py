"""Sessions for units of durable work: activities of a workflow, jobs of a queue, what may be tried again."""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from ably_ai_transport.channel import ChannelClient
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation.tree import REORDER_WINDOW_MS
from ably_ai_transport.session.agent_run import AgentRun
from ably_ai_transport.session.agent_session import APPEND_WINDOW, AgentSession
from ably_ai_transport.session.base_session import HISTORY_PAGE_SIZE
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation

logger = logging.getLogger("ably_ai_transport.session")


@asynccontextmanager
async def with_agent_session(
    client: ChannelClient,
    invocation: "Invocation",
    *,
    codec: Codec[InT, OutT, ProjT, MsgT],
    channel_modes: Sequence[str] = (),
    history_page_size: int = HISTORY_PAGE_SIZE,
    reorder_window_ms: int = REORDER_WINDOW_MS,
    append_window: int = APPEND_WINDOW,
    merge_appends: bool = True,
) -> AsyncGenerator[AgentSession[InT, OutT, ProjT, MsgT]]:
    """Serve an invocation in a session that is detached at the end, whether the work succeeded or not.

    A run that the work has left open stays open: the next attempt adopts it (:meth:`AgentSession.adopt_run`)
    and tries its step again under the same id. Where the run is to end, the work ends it, or calls
    ``session.end()``. What ``withAgentSession`` of the npm package does.

    Args:
        client: As for :class:`AgentSession`, like all that follows; it stays the caller's to close.
        invocation: What the client posted; it names the session.
        codec: The vocabulary of the conversation.
        channel_modes: Channel modes to ask for beyond the default ones.
        history_page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.
        append_window: How many appended tokens may wait for their acknowledgement at once.
        merge_appends: Whether tokens that arrive while the window is full are merged.

    Yields:
        The session, connected.

    Raises:
        AITransportError: The channel refused (104001; ``cause`` says why).

    Example:
        >>> async with with_agent_session(ably, invocation, codec=codec) as session:  # doctest: +SKIP
        ...     run = session.adopt_run(invocation, run_id=run_id, invocation_id=attempt_id)
        ...     await run.load()
        ...     async with run.create_step(step_id="answer") as step:
        ...         await step.pipe(model(run.view.messages))
    """
    session = AgentSession(
        client,
        invocation.session_name,
        codec=codec,
        channel_modes=channel_modes,
        history_page_size=history_page_size,
        reorder_window_ms=reorder_window_ms,
        append_window=append_window,
        merge_appends=merge_appends,
    )
    try:
        await session.connect()
        yield session
    finally:
        try:
            await session.detach()
        except AITransportError:
            # Nothing is published by it, so there is nothing to be told to whoever did the work.
            logger.debug("The session could not be detached", exc_info=True)


async def page_until_located(
    run: AgentRun[InT, OutT, ProjT, MsgT],
    *,
    max_pages: int = 20,
    page_size: int = 100,
    trigger_wait: float = 5.0,
    on_page: Callable[[], object] | None = None,
) -> None:
    """Read history until a run's triggering input has been found, and no further.

    ``run.start()`` does so by itself; this is for who wants to give signs of life meanwhile, or to bound the
    search in pages. What ``pageUntilLocated`` of the npm package does.

    Args:
        run: A run that has been created or adopted.
        max_pages: The most pages to reveal.
        page_size: Messages a page.
        trigger_wait: How long the input may take to come live after that, in seconds.
        on_page: Called before each page, to send a heartbeat, say.

    Raises:
        AITransportError: The input was not found (104010), the session was closed (104004), or history could
            not be read (104011).

    Example:
        >>> await page_until_located(run, on_page=activity.heartbeat)  # doctest: +SKIP
    """
    pages = 0
    while not run.located.is_settled and run.view.has_older and pages < max_pages:
        pages += 1
        if on_page is not None:
            on_page()
        await run.view.load_older(page_size)
    with anyio.move_on_after(trigger_wait):
        await run.located
        return
    raise AITransportError(
        f"unable to open run; its input was not located within {pages} history pages and {trigger_wait} s",
        ErrorCode.INPUT_EVENT_NOT_FOUND,
        504,
    )
