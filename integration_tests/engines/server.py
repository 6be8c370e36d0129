"""A server as the scenarios see it: how each SDK reaches it."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import jwt

from ably_ai_transport import client_options

_TOKEN_TTL = 3600


class Server(Protocol):
    """A server that speaks Ably's protocol: a `LocalServer`, or one that runs elsewhere."""

    @property
    def url(self) -> str:
        """Its address."""
        ...

    @property
    def key(self) -> str:
        """Its API key, with the secret."""
        ...

    def token(
        self, client_id: str | None = None, *, capability: Mapping[str, Sequence[str]] | None = None
    ) -> str:
        """Return a JWT."""
        ...

    def python_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return keyword arguments for the Python SDK."""
        ...

    def javascript_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return options for the JavaScript SDK."""
        ...


class RemoteServer:
    """One or several nodes of a server in other processes.

    Each client id has a node of its own for as long as there are nodes, so that agents and their followers
    are on different ones.

    Attributes:
        urls: The addresses of its nodes.
        key: Its API key.
    """

    def __init__(self, urls: Sequence[str], key: str) -> None:
        self.urls = list(urls)
        self.key = key
        self._nodes: dict[str | None, int] = {}

    @property
    def url(self) -> str:
        """The address of its first node."""
        return self.urls[0]

    def node_of(self, client_id: str | None) -> str:
        """Return the address of a client's node."""
        number = self._nodes.setdefault(client_id, len(self._nodes))
        return self.urls[number % len(self.urls)]

    def move(self, client_id: str) -> None:
        """Give a client the next node, from its next connection on."""
        self._nodes[client_id] = self._nodes.setdefault(client_id, len(self._nodes)) + 1

    def token(
        self, client_id: str | None = None, *, capability: Mapping[str, Sequence[str]] | None = None
    ) -> str:
        """Return a JWT, signed with the key."""
        name, _, secret = self.key.partition(":")
        now = int(time.time())
        claims: dict[str, object] = {
            "iat": now,
            "exp": now + _TOKEN_TTL,
            "x-ably-capability": json.dumps(capability or {"*": ["*"]}),
        }
        if client_id is not None:
            claims["x-ably-clientId"] = client_id
        return cast("Any", jwt).encode(claims, secret, algorithm="HS256", headers={"kid": name})

    def python_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return keyword arguments for the Python SDK."""
        has_token = "token" in overrides
        return client_options(
            self.node_of(client_id), key=None if has_token else self.key, client_id=client_id, **overrides
        )

    def javascript_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return options for the JavaScript SDK."""
        address = urlsplit(self.node_of(client_id))
        tls = address.scheme == "https"
        port = {} if address.port is None else {"tlsPort" if tls else "port": address.port}
        options: dict[str, Any] = {"endpoint": address.hostname, "tls": tls, **port}
        if client_id is not None:
            options["clientId"] = client_id
        if "token" not in overrides:
            options["key"] = self.key
        return {**options, **overrides}
