"""The stage of the demo: a server, an agent and people, all on this machine."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from ably_ai_transport_vercel import UIMessageCodec, text_message

from ably_ai_transport.cli.demo.agent import Agent, serving
from ably_ai_transport.cli.demo.figures import AGENT, Figures
from ably_ai_transport.cli.demo.participant import Participant, Run, participant
from ably_ai_transport.cli.demo.replies import ReplySource
from ably_ai_transport.cli.limits import LimitsChoice
from ably_ai_transport.cli.problems import CliError
from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions

SESSION_NAME = "demo:kitchen-table"
ROLLUP_MS = 40
"""Time within which appends are merged; Ably's default."""


@dataclass(slots=True)
class Stage:
    """The server, the agent and the people.

    Attributes:
        server: The local server.
        agent: The agent.
        agent_url: The agent's endpoint.
        source: The agent's replies.
        figures: Counts of the traffic so far.
        people: The participants, in the order in which they joined.
    """

    server: LocalServer
    agent: Agent
    agent_url: str
    source: ReplySource
    figures: Figures
    _http: httpx.AsyncClient
    _exits: AsyncExitStack
    people: list[Participant] = field(default_factory=list[Participant])

    @property
    def alice(self) -> Participant:
        """The person who asks."""
        return self.people[0]

    @property
    def bob(self) -> Participant:
        """The person who watches."""
        return self.people[1]

    async def join(self, name: str) -> Participant:
        """Add a person, who loads the history.

        Args:
            name: The person's name.

        Returns:
            The person.
        """
        options = options_of(self.server, name)
        newcomer = await self._exits.enter_async_context(participant(name, options, SESSION_NAME))
        await newcomer.session.view.load_all()
        self.people.append(newcomer)
        return newcomer

    async def ask(self, text: str) -> Run:
        """Publish Alice's question, and invoke the agent.

        Args:
            text: The question.

        Returns:
            The run that answers it.

        Raises:
            CliError: The agent could not be invoked.
        """
        question = UIMessageCodec().create_user_message(text_message(text))
        run = await self.alice.session.view.send(question)
        try:
            response = await self._http.post(self.agent_url, json=run.to_invocation().to_json())
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise CliError(f"the agent at {self.agent_url} did not take the question: {error}") from error
        return run


@asynccontextmanager
async def stage(source: ReplySource, limits: LimitsChoice = LimitsChoice.NONE) -> AsyncGenerator[Stage]:
    """Start the server, the agent, Alice and Bob; stop them when the block ends.

    Args:
        source: The agent's replies.
        limits: The limits of the server.

    Yields:
        The stage.
    """
    async with AsyncExitStack() as exits:
        options = LocalServerOptions(
            append_rollup_window_ms=ROLLUP_MS,
            limits=Limits.ably() if limits is LimitsChoice.ABLY else Limits(),
        )
        server = await exits.enter_async_context(LocalServer(options))
        figures = Figures(server.stats, follower="bob")
        server.on_frame(figures.on_frame)
        agent = Agent(options_of(server, AGENT), source, figures)
        address = await exits.enter_async_context(serving(agent.app()))
        # No proxy between two programs on one machine.
        http = await exits.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=10))
        scene = Stage(server, agent, f"{address}/api/chat", source, figures, http, exits)
        await scene.join("Alice")
        await scene.join("Bob")
        scene.bob.session.view.on_message(figures.on_received)
        yield scene


def options_of(server: LocalServer, name: str) -> dict[str, object]:
    """Return the options of a person's Ably client.

    Args:
        server: The local server.
        name: The person's name.

    Returns:
        The options, with the name as client id and as the connection's label.
    """
    client_id = name.lower()
    return server.python_options(client_id=client_id, transport_params={"conn": client_id})
