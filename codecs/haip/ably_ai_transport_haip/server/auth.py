"""Authentication of clients."""

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

import jwt

from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipError, HaipErrorCode

logger = logging.getLogger("ably_ai_transport_haip.server")


IDENTITY_CLAIMS: Final = ("iss", "tenant")
"""The claims that identify the owner of a token, together with its id."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of an accepted token.

    Attributes:
        id: The id of the owner.
        claims: The claims of the token.
        identity_claims: The claims that tell owners with the same id apart: by default issuer and tenant. A
            session belongs to the id together with these claims.
        expires_at: The end of the token: seconds since 1970. Connections end with their token. By default the
            claim ``exp``; None for no end.
        identity: The values that identify the owner: its id and its identity claims.
    """

    id: str
    claims: Mapping[str, object] = field(default_factory=dict[str, object])
    identity_claims: Sequence[str] = IDENTITY_CLAIMS
    expires_at: float | None = None
    identity: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        expires = self.claims.get("exp")
        if self.expires_at is None and isinstance(expires, int | float):
            object.__setattr__(self, "expires_at", expires)
        values = (self.claims.get(name) for name in self.identity_claims)
        told = (json.dumps(value, sort_keys=True, default=str) for value in values)
        object.__setattr__(self, "identity", (self.id, *told))


Authenticate: TypeAlias = Callable[[str], Principal | Awaitable[Principal]]
"""A plain or coroutine function that returns the owner of a token, or raises
:class:`HaipAuthenticationError`."""

_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
    (jwt.InvalidAlgorithmError, "its algorithm is not accepted"),
    (jwt.InvalidAudienceError, "its audience is another one"),
    (jwt.InvalidIssuerError, "its issuer is another one"),
    (jwt.MissingRequiredClaimError, "a required claim is missing (exp, and aud or iss if configured)"),
    (jwt.DecodeError, "it is no JSON web token"),
)


class JwtAuthenticator:
    """Accepts signed JSON web tokens that have not expired.

    Tokens without a signature (``alg: none``) and with other algorithms are refused.

    Args:
        key: The secret or the public key.
        algorithms: The accepted algorithms.
        issuer: The required issuer; None for any.
        audience: The required audience; None for any.
        leeway: The tolerated difference between clocks, in seconds.
        identity_claims: The claims that tell owners with the same ``sub`` apart; see :class:`Principal`.

    Raises:
        ValueError: The key is empty, an algorithm is ``none``, the leeway is negative, or the identity claims
            are a text.

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
        identity_claims: Sequence[str] = IDENTITY_CLAIMS,
    ) -> None:
        if not key:
            raise ValueError("unable to verify tokens; the key is empty")
        if isinstance(algorithms, str) or not algorithms:
            raise ValueError("unable to verify tokens; algorithms must be a list of names, such as ['HS256']")
        if any(algorithm.lower() == "none" for algorithm in algorithms):
            raise ValueError("unable to verify tokens; 'none' is no algorithm")
        if leeway < 0:
            raise ValueError("unable to verify tokens; leeway is negative")
        if isinstance(identity_claims, str):
            raise ValueError(
                "unable to verify tokens; identity_claims must be a list of names, such as ['iss', 'tenant']"
            )
        self._key = key
        self._identity_claims = tuple(identity_claims)
        self._algorithms = list(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    async def __call__(self, token: str) -> Principal:
        """Return the owner of a token.

        Args:
            token: The token.

        Returns:
            The owner: the claim ``sub``, or ``userId`` if there is no ``sub``.

        Raises:
            HaipAuthenticationError: The token is missing, forged or expired, or has no owner.
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
            # Words of our own: the reason travels to the client.
            why = next((reason for kind, reason in _REASONS if isinstance(error, kind)), "it is invalid")
            if not token:
                why = "there is none"
            raise HaipAuthenticationError(f"unable to accept token; {why}") from error
        owner = claims.get("sub") or claims.get("userId")
        if not isinstance(owner, str):
            raise HaipAuthenticationError("unable to accept token; it has no owner (claim sub)")
        return Principal(owner, claims, self._identity_claims, _seconds(claims["exp"]) + self._leeway)


def _seconds(exp: str | float) -> float:
    try:
        return float(exp)
    except OverflowError:
        return math.inf


async def identify(authenticate: Authenticate, token: str) -> Principal:
    """Return the owner of a token.

    Args:
        authenticate: The function of the application.
        token: The token.

    Returns:
        The owner.

    Raises:
        HaipAuthenticationError: The token was refused.
        HaipError: The function failed (SERVER_ERROR); its exception is logged.
    """
    try:
        principal = await call(authenticate, token)
        if not isinstance(principal, Principal):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the owner of a token must be a Principal, not {type(principal).__name__}")
        return principal
    except HaipAuthenticationError as error:
        logger.info("A client was refused: %s", error.message)
        raise
    except Exception:  # a user's code
        logger.exception("Unable to check a token")
        raise HaipError("unable to check the token; try again later", HaipErrorCode.SERVER_ERROR) from None
