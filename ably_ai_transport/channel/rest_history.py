"""History over a REST client of its own.

On a realtime client with token authentication the Ably SDK for Python 3.1.4 answers each REST call by
authorising the connection anew and attaching every channel again; nothing of that happens here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from ably_ai_transport.channel.auth import renew_jwt_strings
from ably_ai_transport.channel.convert import inbound, to_error
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.channel.contract import HistoryPage
    from ably_ai_transport.channel.sdk import AuthOptions, Message, Options

_PROTOCOL_VERSION = "5"


class RestHistory:
    """Reads histories with the credentials of a realtime client.

    Args:
        options: The options that the realtime client was made with.
        agent: How the library identifies itself.
    """

    def __init__(self, options: Options, agent: str) -> None:
        self._options = options
        self._agent = agent
        self._client: Any = None

    async def fetch(self, channel: str, *, limit: int, from_serial: str | None) -> HistoryPage:
        """Fetch the newest page.

        Args:
            channel: The channel's name.
            limit: Messages a page.
            from_serial: Where to start; the newest message where None.

        Returns:
            The page.

        Raises:
            AITransportError: The server refused, or cannot be reached.
        """
        params = {"limit": str(limit)}
        if from_serial is not None:
            params["from_serial"] = from_serial
        path = f"/channels/{quote(channel, safe=':')}/messages"
        try:
            if self._client is None:
                self._client = _rest_client(self._options)
            answer = await self._client.request(
                "GET", path, version=_PROTOCOL_VERSION, params=params, headers={"Ably-Agent": self._agent}
            )
            return _page(answer)
        except AITransportError:
            raise
        except Exception as error:
            raise to_error(error, ErrorCode.HISTORY_FETCH_FAILED) from error

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


class _Page:
    def __init__(self, answer: Any, items: Sequence[InboundMessage]) -> None:  # noqa: ANN401
        self._answer = answer
        self._items = items

    @property
    def items(self) -> Sequence[InboundMessage]:
        return self._items

    @property
    def has_next(self) -> bool:
        return bool(self._answer.has_next())

    async def next(self) -> HistoryPage | None:
        try:
            answer = await self._answer.next()
        except Exception as error:
            raise to_error(error, ErrorCode.HISTORY_FETCH_FAILED) from error
        return None if answer is None else _page(answer)


def _page(answer: Any) -> _Page:  # noqa: ANN401 - the SDK's answers have no types
    from ably.types.message import Message as SdkMessage

    if not answer.success:
        raise AITransportError(
            f"unable to read history; {answer.error_message or f'status {answer.status_code}'}",
            answer.error_code or ErrorCode.HISTORY_FETCH_FAILED,
            answer.status_code,
        )
    decode = cast("Callable[[object], list[Message]]", SdkMessage.from_encoded_array)  # pyright: ignore[reportUnknownMemberType]
    messages = decode(answer.items)
    return _Page(answer, [inbound(message) for message in messages])


def _rest_client(options: Options) -> object:
    from ably import AblyRest

    settings: dict[str, Any] = {
        name: value
        for name in ("endpoint", "port", "tls_port", "client_id", "default_token_params", "use_token_auth")
        if (value := getattr(options, name)) is not None
    }
    settings |= _credentials(options)
    client = AblyRest(**settings, tls=options.tls, use_binary_protocol=options.use_binary_protocol)
    renew_jwt_strings(cast("AuthOptions", client.options))
    return client


def _credentials(options: Options) -> dict[str, Any]:
    if options.auth_callback is not None:
        return {"auth_callback": options.auth_callback}
    if options.auth_url is not None:
        names = ("auth_url", "auth_method", "auth_headers", "auth_params")
        return {name: getattr(options, name) for name in names}
    if options.key_name is not None:
        key = {"key": f"{options.key_name}:{options.key_secret}"}
        # The SDK refuses to send a key over plain HTTP; a token signed with it will do.
        return key if options.tls else {**key, "use_token_auth": True}
    if options.token_details is not None:
        return {"token_details": options.token_details}
    return {"token": options.auth_token}
