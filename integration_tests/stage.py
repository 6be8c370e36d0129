"""The setting of a scenario: one server, one channel, participants in the languages of the pairing."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pytest

from ably_ai_transport.local import Faults, LocalServer
from integration_tests.engines.server import Server
from integration_tests.js_peer import JsAgent, JsClient
from integration_tests.js_process import RETRY_MS, Json
from integration_tests.peers import Agent, Client
from integration_tests.py_agent import PyAgent
from integration_tests.py_client import PyClient
from integration_tests.vocabularies import CodecName

Language: TypeAlias = Literal["js", "python"]


@dataclass(frozen=True)
class Pairing:
    """The language of each participant.

    Attributes:
        agent: The agent.
        client: The client that speaks.
        other: All other participants.
    """

    agent: Language
    client: Language
    other: Language

    def __str__(self) -> str:
        return f"{self.agent}-agent,{self.client}-client,{self.other}-other"


PAIRINGS: Final = (
    Pairing("js", "js", "js"),
    Pairing("python", "js", "python"),
    Pairing("js", "python", "js"),
)
"""The JS package with itself, which proves server and scenarios; then each side of ours with it.

Where one side is ours, clients of both kinds look at one agent.
"""


class Stage:
    """One channel of one server, and what it takes to play a scenario on it."""

    def __init__(
        self, server: Server, pairing: Pairing, *, binary: bool, codec: CodecName = "vercel"
    ) -> None:
        self.codec: CodecName = codec
        self.server = server
        self.pairing = pairing
        self.binary = binary
        self.channel = f"test:{uuid.uuid4()}"

    @property
    def local_server(self) -> LocalServer:
        """The local server; tests that use its fault switch or its counters are for that server only."""
        if not isinstance(self.server, LocalServer):
            pytest.skip("only the local server has a fault switch and counters")
        return self.server

    @property
    def faults(self) -> Faults:
        """The fault switch of the local server."""
        return self.local_server.faults

    def agent(
        self, client_id: str = "agent", *, may_have_unhandled: bool = False, append_interval: float = 0.0
    ) -> Agent:
        """Return an agent, to be entered.

        Args:
            client_id: Its client id.
            may_have_unhandled: Whether an agent in JS may leave rejections unhandled.
            append_interval: Seconds between two appends of one stream, of an agent in Python.
        """
        if self.pairing.agent == "python":
            return PyAgent(
                self.server,
                client_id=client_id,
                binary=self.binary,
                codec=self.codec,
                append_interval=append_interval,
            )
        return JsAgent(
            self.server,
            client_id=client_id,
            binary=self.binary,
            may_have_unhandled=may_have_unhandled,
            codec=self.codec,
            disconnectedRetryTimeout=RETRY_MS,
        )

    def client(self, client_id: str = "alice", **session: object) -> Client:
        """Return the client that speaks, to be entered; ``session`` are its options in their JS names."""
        return self._client(self.pairing.client, client_id, session)

    def other(self, client_id: str = "bob", **session: object) -> Client:
        """Return somebody who looks on or joins in, to be entered."""
        return self._client(self.pairing.other, client_id, session)

    def _client(self, language: Language, client_id: str, session: dict[str, object]) -> Client:
        if language == "python":
            return PyClient(
                self.server,
                client_id=client_id,
                channel=self.channel,
                binary=self.binary,
                session=session,
                codec=self.codec,
            )
        return JsClient(
            self.server,
            client_id=client_id,
            channel=self.channel,
            binary=self.binary,
            session=session,
            codec=self.codec,
            disconnectedRetryTimeout=RETRY_MS,
        )


async def agree(*clients: Client) -> Json:
    """Check that all clients show the same, to the last character; return what they show."""
    first, *others = [await client.show() for client in clients]
    for client, shown in zip(clients[1:], others, strict=True):
        assert shown["messages"] == first["messages"], f"{client.label} shows other messages"
        assert shown["runs"] == first["runs"], f"{client.label} shows other runs"
    return first


def without_doubled_steps(messages: list[Json]) -> list[Json]:
    """Drop a step's start that directly follows another.

    A joiner makes up the beginning of a step that it has not seen; when history brings the real one, the JS
    package 0.8.0 shows both.
    """
    for entry in messages:
        parts = entry["message"]["parts"]
        entry["message"]["parts"] = [
            part
            for index, part in enumerate(parts)
            if part != {"type": "step-start"} or index == 0 or parts[index - 1] != part
        ]
    return messages


def texts(messages: Iterable[Json]) -> list[str]:
    """Return the text of each message."""
    return [
        "".join(part.get("text", "") for part in entry["message"]["parts"] if part["type"] == "text")
        for entry in messages
    ]


def roles(messages: Iterable[Json]) -> list[str]:
    """Return who wrote each message."""
    return [entry["message"]["role"] for entry in messages]
