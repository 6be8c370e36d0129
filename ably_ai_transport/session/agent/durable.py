"""Helpers for durable work: activities of a workflow, jobs of a queue, everything that may be retried."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Unpack

import anyio

from ably_ai_transport.channel import ChannelClient
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.session.agent.run import AgentRun
from ably_ai_transport.session.agent.session import AgentSession, AgentSessionOptions, Authorize
from ably_ai_transport.wire import NotFoundInTimeError

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation


def with_agent_session(
    client: ChannelClient,
    invocation: "Invocation",
    *,
    codec: Codec[InT, OutT, ProjT, MsgT],
    authorize: Authorize | None = None,
    **options: Unpack[AgentSessionOptions],
) -> AbstractAsyncContextManager[AgentSession[InT, OutT, ProjT, MsgT]]:
    """Call :meth:`AgentSession.open`, under the name that it has in the npm package.

    Args:
        client: As for :meth:`AgentSession.open`, like all that follows.
        invocation: The invocation that the client posted.
        codec: The vocabulary of the conversation.
        authorize: Tells whether the session may be served.
        options: As for :class:`AgentSession`.

    Returns:
        A context with the session, connected.
    """
    return AgentSession.open(client, invocation, codec=codec, authorize=authorize, **options)


async def page_until_located(
    run: AgentRun[InT, OutT, ProjT, MsgT],
    *,
    max_pages: int = 20,
    page_size: int = 100,
    trigger_wait: float = 5.0,
    on_page: Callable[[], object] | None = None,
) -> None:
    """Read history until a run's triggering input has been found, and no further.

    ``run.start()`` does so by itself. This function also sends heartbeats between pages, and bounds the
    search in pages. It is ``pageUntilLocated`` of the npm package.

    Args:
        run: A run that has been created or adopted.
        max_pages: The most pages to reveal.
        page_size: Messages a page.
        trigger_wait: How long the input may take to come live after that, in seconds.
        on_page: A plain function, called before each page, to send a heartbeat for example.

    Raises:
        NotFoundInTimeError: The input was not found (104010).
        SessionClosedError: The session was closed (104004).
        ChannelRefusedError: History could not be read (104011).

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
    raise NotFoundInTimeError(
        f"unable to open run; its input was not located within {pages} history pages and {trigger_wait} s"
    )
