"""Endpoints: clients of the Ably SDK for Ably itself, for a self-hosted engine, or for the local server."""

from __future__ import annotations

import ipaddress
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import SplitResult, urlsplit

import anyio

from ably_ai_transport.channel.ably.sdk import sdk
from ably_ai_transport.wire import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from ably import AblyRealtime

_CREDENTIALS: Final = frozenset({"token", "token_details", "auth_callback", "auth_url"})
_TLS: Final[Mapping[str, bool]] = {"http": False, "ws": False, "https": True, "wss": True}


def client_options(
    url: str | None = None,
    *,
    key: str | None = None,
    client_id: str | None = None,
    **options: Any,  # noqa: ANN401 - the SDK's options have no types
) -> dict[str, Any]:
    """Return the keyword arguments of an Ably client that talks to one endpoint.

    The Ably SDK ignores its `port` option for websockets, and refuses an API key where there is no TLS. These
    options have the port in the endpoint, and exchange the key for a token without TLS.

    Args:
        url: The address of the server, such as `https://realtime.example.com` or `http://127.0.0.1:8099`.
            Without a scheme, TLS is used unless the host is a loopback address. None for Ably itself.
        key: The API key, as `app.key:secret`; None when `options` hold other credentials.
        client_id: The client's id.
        options: Further options of the SDK, by its names; they win.

    Returns:
        Keyword arguments of `AblyRealtime` and `AblyRest`.

    Raises:
        InvalidArgumentError: The address is no such URL, or there are no credentials (40003).

    Example:
        >>> client_options("http://127.0.0.1:8099", key="dev.key:secret")["endpoint"]
        '127.0.0.1:8099/'
    """
    found: dict[str, Any] = {}
    if key is not None:
        found["key"] = key
    elif not _CREDENTIALS & options.keys():
        raise InvalidArgumentError(
            f"unable to connect to {url or 'Ably'}; there are no credentials: pass key=, token= or"
            " auth_callback="
        )
    if client_id is not None:
        found["client_id"] = client_id
    if url is not None:
        address = _address(url)
        tls = _TLS[address.scheme]
        found |= {"endpoint": f"{address.netloc}/", "tls": tls}
        if key is not None and not tls:
            found["use_token_auth"] = True
            if client_id is not None:
                found["default_token_params"] = {"client_id": client_id}
    return {**found, **options}


@asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    key: str | None = None,
    client_id: str | None = None,
    **options: Any,  # noqa: ANN401 - the SDK's options have no types
) -> AsyncGenerator[AblyRealtime]:
    """Open an Ably client for one endpoint, and close it when the block ends.

    Args:
        url: The address of the server; None for Ably itself (see :func:`client_options`).
        key: The API key.
        client_id: The client's id.
        options: Further options of the SDK, by its names.

    Yields:
        The client, connecting. Sessions wait until it is connected.

    Raises:
        InvalidArgumentError: The address is no URL of a server, or there are no credentials (40003).

    Example:
        async with (
            connect("http://127.0.0.1:8099", key="dev.key:secret", client_id="alice") as ably,
            ClientSession(ably, "chat:1", codec=UIMessageCodec()) as session,
        ):
            ...
    """
    async with opened(client_options(url, key=key, client_id=client_id, **options)) as client:
        yield client


@asynccontextmanager
async def opened(options: Mapping[str, Any]) -> AsyncGenerator[AblyRealtime]:
    """Open an Ably client from the SDK's own options, and close it when the block ends.

    Args:
        options: The SDK's keyword arguments.

    Yields:
        The client, connecting.
    """
    client = cast("AblyRealtime", sdk().client(**options))
    try:
        yield client
    finally:
        # A client that failed has nothing to close, and the SDK raises in a task of its own when it tries.
        if client.connection.state != "failed":
            with anyio.CancelScope(shield=True):
                await client.close()


def _address(url: str) -> SplitResult:
    text = url if "://" in url else f"//{url}"
    try:
        address = urlsplit(text)
        host, _ = address.hostname, address.port  # a port that is no number raises
    except ValueError as error:
        raise InvalidArgumentError(f"unable to connect to {url!r}; it is no URL of a server") from error
    if not host or address.scheme not in {"", *_TLS} or address.path not in {"", "/"} or address.query:
        raise InvalidArgumentError(
            f"unable to connect to {url!r}; it is no URL of a server, such as https://host or http://host:port"
        )
    if address.username is not None:
        raise InvalidArgumentError(f"unable to connect to {host}; credentials belong into key=, not the URL")
    if "." not in host and ":" not in host and host != "localhost":
        raise InvalidArgumentError(
            f"unable to connect to {url!r}; the Ably SDK takes a name without a dot for a routing policy of"
            " Ably: use an IP address or a full name"
        )
    if not address.scheme:
        return address._replace(scheme="http" if _is_loopback(host) else "https")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
