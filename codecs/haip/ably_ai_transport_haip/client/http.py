"""HTTP transports: frames arrive in one open response and leave in requests."""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
from httpx_sse import EventSource

from ably_ai_transport_haip.client.config import (
    HaipTransportConfig,
    HTTPStreamingTransportOptions,
    SSETransportOptions,
    Token,
    options_of,
)
from ably_ai_transport_haip.client.transport import BaseTransport, refusal, with_query, without_query
from ably_ai_transport_haip.protocol import HaipConnectionError, new_id

DONE = "[DONE]"


class HttpTransport(BaseTransport):
    """Base of the HTTP transports: sends frames in requests and opens the response.

    Args:
        url: The address of the server: ``http://…`` or ``https://…``.
        token: A JWT, or a function that returns one for each connection.
        options: Headers, cookies and the timeout of each request.
    """

    def __init__(
        self, url: str, token: Token, options: SSETransportOptions | HTTPStreamingTransportOptions
    ) -> None:
        super().__init__(url, token)
        self._post_to = _split(url)
        self._headers = dict(options.headers)
        self._cookies = dict(options.cookies)
        self._timeout = options.timeout
        self._bearer = ""
        self._stream_id = ""
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None
        self._response: httpx.Response | None = None

    async def send(self, data: str | bytes) -> None:
        """Send a frame, or text frames as lines; see :class:`~ably_ai_transport_haip.HaipTransport`."""
        if self._client is None:
            raise HaipConnectionError("unable to send; there is no connection")
        headers = _authorization(self._bearer) | {"X-HAIP-Stream": self._stream_id}
        if isinstance(data, str):
            body = data.encode()
            # JSON on the wire has no line breaks, so these are several frames.
            kind = "application/x-ndjson" if "\n" in data else "application/json"
            headers |= {"Content-Type": kind, "X-HAIP-Message": "true"}
        else:
            body = base64.b64encode(data)
            headers |= {"Content-Type": "application/octet-stream", "X-HAIP-Binary": "true"}
        address, extensions = self._post_to
        try:
            response = await self._client.post(
                address, content=body, headers=headers, timeout=self._timeout, extensions=extensions
            )
        except httpx.HTTPError as error:
            raise HaipConnectionError(f"unable to send; {str(error) or type(error).__name__}") from error
        if response.is_error:
            raise refusal(response.status_code, response.text, self._bearer)

    async def _open_stream(self, token: str, accept: str, **params: str) -> None:
        self._bearer = token
        # Requests name their stream, because one token may have several.
        self._stream_id = new_id()
        limits = httpx.Timeout(self._timeout, read=None)
        self._client = await self._stack.enter_async_context(
            httpx.AsyncClient(headers=self._headers, cookies=self._cookies, timeout=limits)
        )
        headers = _authorization(token) | {"Accept": accept, "Cache-Control": "no-store"}
        address, extensions = _split(self._url, token=token, stream_id=self._stream_id, **params)
        request = self._client.stream("GET", address, headers=headers, extensions=extensions)
        try:
            self._response = await self._stack.enter_async_context(request)
        except httpx.HTTPError as error:
            await self._shut()
            raise HaipConnectionError(
                f"unable to connect to {without_query(self._url)}; {str(error) or type(error).__name__}"
            ) from error
        if self._response.is_error:
            text = (await self._response.aread()).decode(errors="replace")
            status = self._response.status_code
            await self._shut()
            raise refusal(status, text, token)

    async def _events(self) -> AsyncIterator[str | bytes]:
        """Read the frames of server-sent events."""
        if self._response is None:
            return
        try:
            async for event in EventSource(self._response).aiter_sse():
                if event.data == DONE:
                    return
                if event.event == "haip-binary":
                    yield _decoded(event.data)
                elif event.event in ("message", "haip-message", "haip-error") and event.data:
                    yield event.data
        except httpx.HTTPError as error:
            raise HaipConnectionError(
                f"the connection was lost: {str(error) or type(error).__name__}"
            ) from error

    async def _shut(self) -> None:
        self._client = self._response = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()


class SSETransport(HttpTransport):
    """Frames arrive as server-sent events and leave in requests.

    Args:
        config: The address of the event stream, the token, and :class:`SSETransportOptions`.

    Raises:
        HaipConnectionError: The address does not fit this transport.
        HaipError: The options belong to another transport.
    """

    def __init__(self, config: HaipTransportConfig) -> None:
        super().__init__(config.url, config.token, options_of(SSETransportOptions, config.options))

    async def _open(self, token: str) -> None:
        await self._open_stream(token, "text/event-stream")

    def _frames(self) -> AsyncIterator[str | bytes]:
        return self._events()


class HTTPStreamingTransport(HttpTransport):
    """Frames arrive in a streamed response and leave in requests.

    The response may be server-sent events, or one JSON object per line.

    Args:
        config: The address of the stream, the token, and :class:`HTTPStreamingTransportOptions`.

    Raises:
        HaipConnectionError: The address does not fit this transport.
        HaipError: The options belong to another transport.
    """

    def __init__(self, config: HaipTransportConfig) -> None:
        super().__init__(config.url, config.token, options_of(HTTPStreamingTransportOptions, config.options))

    async def _open(self, token: str) -> None:
        await self._open_stream(token, "text/event-stream, application/x-ndjson;q=0.5", stream="true")

    def _frames(self) -> AsyncIterator[str | bytes]:
        if self._response is not None and "event-stream" in self._response.headers.get("content-type", ""):
            return self._events()
        return self._lines()

    async def _lines(self) -> AsyncIterator[str | bytes]:
        if self._response is None:
            return
        try:
            async for line in self._response.aiter_lines():
                text = line.removeprefix("data: ").strip()
                if text == DONE:
                    return
                if text:
                    yield text
        except httpx.HTTPError as error:
            raise HaipConnectionError(
                f"the connection was lost: {str(error) or type(error).__name__}"
            ) from error


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise HaipConnectionError("unable to read a binary frame; it is no base64") from error


def _authorization(token: str) -> dict[str, str]:
    # A header must not end in a space.
    return {"Authorization": f"Bearer {token}"} if token else {}


def _split(url: str, **params: str) -> tuple[str, dict[str, bytes]]:
    """Return an address without its query, and the extension of httpx that still sends the query.

    httpx logs the address of each request, and the query holds the token.
    """
    return without_query(url), {"target": httpx.URL(with_query(url, **params)).raw_path}
