"""JSON web tokens as strings, which the Ably SDK for Python 3.1.4 takes once and cannot renew.

The SDK reads the client id of a token from its details, and takes a bare string for a token of nobody: the
next one is then refused for changing the client id to None. Details read from the token itself cure it.
"""

import base64
import json
from collections.abc import Mapping
from typing import cast

from ably_ai_transport.channel.sdk import AuthCallback, AuthOptions


def renew_jwt_strings(options: AuthOptions) -> None:
    """Let an ``auth_callback`` return a JWT as a string.

    Args:
        options: The options of a client; its callback is wrapped in place, once.
    """
    callback = options.auth_callback
    if callback is None or isinstance(callback, _WithDetails):
        return
    options.auth_callback = _WithDetails(callback)


class _WithDetails:
    def __init__(self, callback: AuthCallback) -> None:
        self._callback = callback

    async def __call__(self, token_params: Mapping[str, object]) -> object:
        token = await self._callback(token_params)
        return details_of(token) if isinstance(token, str) else token


def details_of(token: str) -> object:
    """Read what a JWT says of itself, without verifying it: that is the server's business.

    Args:
        token: The token.

    Returns:
        The SDK's token details; the token itself where it is no JWT.
    """
    from ably.types.tokendetails import TokenDetails

    claims = _claims(token)
    if claims is None:
        return token
    expires, issued = claims.get("exp"), claims.get("iat")
    return TokenDetails(
        token=token,
        expires=int(expires * 1000) if isinstance(expires, int | float) else None,
        issued=int(issued * 1000) if isinstance(issued, int | float) else 0,
        client_id=cast("str | None", claims.get("x-ably-clientId")),
    )


def _claims(token: str) -> Mapping[str, object] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: object = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return cast("Mapping[str, object]", claims) if isinstance(claims, dict) else None
