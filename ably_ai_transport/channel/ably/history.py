"""History by REST, with credentials of its own.

On a realtime client with token authentication, the Ably SDK for Python 3.1.4 authorizes the connection
again for each REST call and attaches every channel again. Over plain HTTP it refuses a key. So
authentication is done here, and the SDK only sends the request.
"""

from __future__ import annotations

import base64
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode, urljoin

import anyio

from ably_ai_transport.channel.ably.frames import drop_null_encodings
from ably_ai_transport.channel.ably.sdk import inbound, sdk, to_error
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.channel.ably.sdk import Message, Realtime, Response
    from ably_ai_transport.channel.payload import Frame

logger = logging.getLogger("ably_ai_transport.channel")

_TOKEN_ERRORS = range(40140, 40150)


class RestHistory:
    """Reads histories with the credentials of a realtime client, and never disturbs its connection.

    Args:
        client: The client.
    """

    def __init__(self, client: Realtime) -> None:
        self._client = client
        self._token: str | None = None
        self._lock = anyio.Lock()

    async def fetch(
        self, channel: str, *, limit: int, from_serial: str, cipher: object | None = None
    ) -> RestHistoryPage:
        """Fetch the newest page.

        Args:
            channel: The channel's name.
            limit: Messages a page.
            from_serial: The position to start at.
            cipher: The cipher of the channel, where it has one.

        Returns:
            The page.

        Raises:
            AITransportError: The server refused, or cannot be reached.
        """
        query = urlencode({"limit": str(limit), "direction": "backwards", "from_serial": from_serial})
        return await self.fetch_page(f"/channels/{quote(channel, safe=':')}/messages?{query}", cipher)

    async def fetch_page(self, path: str, cipher: object | None) -> RestHistoryPage:
        """Fetch the page at a path."""
        try:
            response = await self._get(path)
            items = cast("list[Frame]", response.to_native() or [])
            following = response.links.get("next")
        except AITransportError:
            raise
        except Exception as error:  # the SDK, httpx and the parsing of the body raise their own types
            raise to_error(error, ErrorCode.HISTORY_FETCH_FAILED) from error
        return RestHistoryPage(
            self,
            _decoded(items, cipher),
            None if following is None else urljoin(path, following["url"]),
            cipher,
        )

    async def _get(self, path: str) -> Response:
        used = await self._authorization()
        try:
            return await self._request(path, used)
        except Exception as error:  # raised again unless its code is one of a token error
            if getattr(error, "code", None) not in _TOKEN_ERRORS:
                raise
        return await self._request(path, await self._authorization(instead_of=used))

    async def _request(self, path: str, authorization: str) -> Response:
        headers = {
            "Authorization": authorization,
            "Ably-Agent": self._client.options.transport_params.get("agent", ""),
        }
        return await self._client.http.make_request("GET", path, headers=headers, skip_auth=True)

    async def _authorization(self, instead_of: str | None = None) -> str:
        """Return an Authorization header, other than the one that was refused."""
        auth = self._client.auth
        if auth.auth_mechanism == "BASIC" and self._client.options.tls:
            return f"Basic {auth.basic_credentials}"
        async with self._lock:
            current = auth.token_details
            for token in (None if current is None else current.token, self._token):
                if token is not None and _bearer(token) != instead_of:
                    return _bearer(token)
            # Requesting a token leaves the connection alone; authorizing does not.
            self._token = (await auth.request_token()).token
            return _bearer(self._token)


@dataclass(frozen=True, slots=True)
class RestHistoryPage:
    """One page; see :class:`~ably_ai_transport.channel.contract.HistoryPage`."""

    history: RestHistory
    items: Sequence[InboundMessage]
    following: str | None
    cipher: object | None

    @property
    def has_next(self) -> bool:
        """Whether there are older messages."""
        return self.following is not None

    async def next(self) -> RestHistoryPage | None:
        """Fetch the next page; None when there is none.

        Raises:
            AITransportError: It could not be fetched.
        """
        return None if self.following is None else await self.history.fetch_page(self.following, self.cipher)


def _bearer(token: str) -> str:
    return f"Bearer {base64.b64encode(token.encode()).decode()}"


def _decoded(items: Sequence[Frame], cipher: object | None) -> list[InboundMessage]:
    """Decode each message by itself: one that is broken must not hide the others."""
    decode: Callable[[Frame, object], Message] = sdk().message.from_encoded
    drop_null_encodings(items)
    messages: list[InboundMessage] = []
    for item in items:
        try:
            messages.append(inbound(decode(item, cipher)))
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            logger.warning(
                "A message of the history could not be decoded and is left out: %s", type(error).__name__
            )
    return messages
