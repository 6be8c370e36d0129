"""Who a client is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import jwt

from ably_ai_transport_haip.protocol import HaipAuthenticationError


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whose token was accepted.

    Attributes:
        id: Who it is; sessions belong to it.
        claims: What else the token says.
    """

    id: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object])


Authenticate: TypeAlias = Callable[[str], Awaitable[Principal]]
"""Tells whose token it is, or raises :class:`HaipAuthenticationError`."""


class JwtAuthenticator:
    """Accepts JSON web tokens whose signature is right and whose time has not passed.

    Tokens without a signature (``alg: none``) and those of other algorithms than the given ones are refused.

    Args:
        key: The secret, or the public key.
        algorithms: The algorithms to accept.
        issuer: Who must have issued it; None for anybody.
        audience: For whom it must be; None for anybody.
        leeway: By how many seconds clocks may differ.

    Example:
        >>> authenticate = JwtAuthenticator("a secret of at least thirty-two bytes")
    """

    def __init__(
        self,
        key: str,
        *,
        algorithms: Sequence[str] = ("HS256",),
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 0,
    ) -> None:
        if not key:
            raise ValueError("unable to verify tokens; the key is empty")
        if any(algorithm.lower() == "none" for algorithm in algorithms):
            raise ValueError("unable to verify tokens; 'none' is no algorithm")
        self._key = key
        self._algorithms = list(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    async def __call__(self, token: str) -> Principal:
        """Tell whose token it is.

        Args:
            token: The token.

        Returns:
            The principal: the claim ``sub``, or ``userId`` where there is none.

        Raises:
            HaipAuthenticationError: The token is missing, forged, expired, or names nobody.
        """
        try:
            claims: dict[str, Any] = cast("Any", jwt).decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp"], "verify_aud": self._audience is not None},
            )
        except jwt.PyJWTError as error:
            raise HaipAuthenticationError(f"unable to accept token; {error}") from error
        who = claims.get("sub") or claims.get("userId")
        if not isinstance(who, str):
            raise HaipAuthenticationError("unable to accept token; it names nobody (claim sub)")
        return Principal(who, claims)
