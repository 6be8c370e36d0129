"""Tokens as strings, which the Ably SDK for Python 3.1.4 takes once and cannot renew.

The SDK reads the client id of a token from its details, and takes a bare string for a token without a client
id. It then refuses the next one, because the client id would change to None. This module therefore reads the
details from the token itself.
"""

from __future__ import annotations

import base64
import inspect
import json
from typing import TYPE_CHECKING, cast

from ably_ai_transport.channel.ably.sdk import sdk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.channel.ably.sdk import AuthCallback, Realtime


def renew_token_strings(client: Realtime) -> None:
    """Let an ``auth_callback`` or an ``auth_url`` answer with a token as a string.

    Args:
        client: A client; its callback is wrapped in place, once. A callback need not be a coroutine function.
    """
    options = client.options
    if options.auth_callback is not None:
        if not isinstance(options.auth_callback, _WithDetails):
            options.auth_callback = _WithDetails(client, options.auth_callback)
    elif options.auth_url is not None:
        options.auth_callback = _WithDetails(client, _UrlCallback(client, options.auth_url))


class _WithDetails:
    """A callback whose strings become token details."""

    def __init__(self, client: Realtime, callback: AuthCallback) -> None:
        self._client = client
        self._callback = callback

    async def __call__(self, token_params: Mapping[str, object]) -> object:
        token = self._callback(token_params)
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str) or not token:
            return token
        # A token that says nothing of a client id goes with the one that the client has: the server decides.
        return details_of(token, self._client.auth.client_id or self._client.options.client_id)


class _UrlCallback:
    """Asks a URL for a token, as the SDK does."""

    def __init__(self, client: Realtime, url: str) -> None:
        self._client = client
        self._url = url

    async def __call__(self, token_params: Mapping[str, object]) -> object:
        options = self._client.options
        return await self._client.auth.token_request_from_auth_url(
            options.auth_method.upper(),
            self._url,
            token_params,
            options.auth_headers or {},
            options.auth_params or {},
        )


def details_of(token: str, client_id: str | None) -> object:
    """Read the claims of a JWT, without verifying it: the server does that.

    Args:
        token: The token.
        client_id: The client id where the token names none.

    Returns:
        The SDK's token details.
    """
    claims = _claims(token)
    expires, issued, holder = claims.get("exp"), claims.get("iat"), claims.get("x-ably-clientId")
    return sdk().token_details(
        token=token,
        expires=int(expires * 1000) if isinstance(expires, int | float) else None,
        issued=int(issued * 1000) if isinstance(issued, int | float) else 0,
        client_id=holder if isinstance(holder, str) else client_id,
    )


def _claims(token: str) -> Mapping[str, object]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims: object = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return cast("Mapping[str, object]", claims) if isinstance(claims, dict) else {}
