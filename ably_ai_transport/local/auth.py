"""Who a client is: API keys, JWTs, token requests, and the rules about clientId."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from ably_ai_transport.local.capability import EVERYTHING, Capability, parse_capability
from ably_ai_transport.local.refusals import RefusedError, bad_request
from ably_ai_transport.local.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.protocol import Value

DEFAULT_TTL_MS: Final = 3_600_000
WILDCARD: Final = "*"

# Their types mention a package that need not be installed.
_encode = cast("Any", jwt).encode
_decode = cast("Any", jwt).decode


@dataclass(frozen=True, slots=True)
class Identity:
    """What a credential says about its holder.

    Attributes:
        key_name: The API key behind the credential.
        client_id: A name, `*` for any name, None for an anonymous client.
        capability: What it may do.
        expires: When the token ends (milliseconds); None for an API key.
    """

    key_name: str
    client_id: str | None
    capability: Capability
    expires: int | None = None

    def assume(self, client_id: str | None) -> Identity:
        """Return this identity under the clientId the client asks for.

        Raises:
            RefusedError: 40102, the credential is for someone else; 40012, this is not a clientId.
        """
        if client_id is None:
            return self
        if client_id == WILDCARD or not client_id:
            raise RefusedError(40012, 400, "clientId must not be empty or a wildcard")
        if self.client_id not in (WILDCARD, client_id):
            raise RefusedError(40102, 401, f"credentials are not valid for clientId {client_id!r}")
        return Identity(self.key_name, client_id, self.capability, self.expires)

    def author(self, claimed: str | None) -> str | None:
        """Return the clientId that a message of this identity is stamped with.

        Raises:
            RefusedError: 40012, the message claims another one.
        """
        if self.client_id == WILDCARD:
            return claimed
        if claimed is not None and claimed != self.client_id:
            raise RefusedError(40012, 400, f"mismatched clientId in message: {claimed!r}")
        return self.client_id


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request or a connection attempt came with."""

    key: str | None = None
    token: str | None = None
    client_id: str | None = None


class Authority:
    """Holds the API keys and judges credentials."""

    def __init__(self, keys: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._secrets: dict[str, str] = {}
        for key in keys or (f"local.{random_id(6)}:{secrets.token_urlsafe(32)}",):
            name, _, secret = key.partition(":")
            if not name or not secret:
                raise ValueError(f"an API key looks like app.key:secret, not {key!r}")
            self._secrets[name] = secret
        self.key_name = next(iter(self._secrets))

    @property
    def key(self) -> str:
        """The first API key, in full."""
        return f"{self.key_name}:{self._secrets[self.key_name]}"

    def identify(self, credentials: Credentials) -> Identity:
        """Judge credentials.

        Raises:
            RefusedError: 40101 bad credentials, 40142 expired token, 40144 malformed token, 40102 clientId.
        """
        if credentials.token:
            identity = self._from_token(credentials.token)
        elif credentials.key:
            identity = self._from_key(credentials.key)
        else:
            raise RefusedError(40101, 401, "no credentials")
        return identity.assume(credentials.client_id)

    def issue(
        self,
        *,
        client_id: str | None = None,
        capability: Capability = EVERYTHING,
        ttl_ms: int = DEFAULT_TTL_MS,
        key_name: str | None = None,
    ) -> str:
        """Return a signed JWT (claims as in Ably's documentation of JWTs)."""
        name = key_name or self.key_name
        now = self._clock.now()
        claims: dict[str, object] = {
            "iat": now / 1000,
            "exp": (now + ttl_ms) / 1000,
            "jti": random_id(16),
            "x-ably-capability": capability.to_json(),
        }
        if client_id is not None:
            claims["x-ably-clientId"] = client_id
        with warnings.catch_warnings():  # a short secret is fine where there is nothing to protect
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return _encode(claims, self._secrets[name], algorithm="HS256", headers={"kid": name})

    def token_details(
        self, key_name: str, request: Mapping[str, Value], identity: Identity | None
    ) -> dict[str, Value]:
        """Answer a request for a token, signed (TokenRequest, specification RSA9) or made under a key.

        Raises:
            RefusedError: 40101, unknown key or wrong mac; 40102, the key in the body is another one.
        """
        secret = self._secrets.get(key_name)
        if secret is None:
            raise RefusedError(40101, 401, f"unknown key {key_name!r}")
        if request.get("keyName", key_name) != key_name:
            raise RefusedError(40102, 401, "the token request is for another key")
        mac = request.get("mac")
        if isinstance(mac, str):
            if not hmac.compare_digest(mac.encode(), _mac(secret, key_name, request).encode()):
                raise RefusedError(40101, 401, "the mac of the token request does not match")
        elif identity is None or identity.key_name != key_name or identity.expires is not None:
            raise RefusedError(40101, 401, "a token request must be signed or made with the key")
        client_id = request.get("clientId")
        ttl = request.get("ttl")
        text = request.get("capability")
        capability = parse_capability(text) if isinstance(text, str) and text else EVERYTHING
        ttl_ms = _milliseconds(ttl)
        issued = self._clock.now()
        name = client_id if isinstance(client_id, str) and client_id else None
        details: dict[str, Value] = {
            "token": self.issue(client_id=name, capability=capability, ttl_ms=ttl_ms, key_name=key_name),
            "keyName": key_name,
            "issued": issued,
            "expires": issued + ttl_ms,
            "capability": capability.to_json(),
        }
        if name is not None:
            details["clientId"] = name
        return details

    def _from_key(self, key: str) -> Identity:
        name, _, secret = key.partition(":")
        known = self._secrets.get(name)
        if known is None or not hmac.compare_digest(secret.encode(), known.encode()):
            raise RefusedError(40101, 401, "Invalid credentials")
        return Identity(name, WILDCARD, EVERYTHING)

    def _from_token(self, token: str) -> Identity:
        try:
            name = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError as error:
            raise RefusedError(40144, 401, f"Invalid token: {error}") from error
        secret = self._secrets.get(str(name))
        if secret is None:
            raise RefusedError(40101, 401, f"Invalid credentials: unknown key {name!r}")
        claims = _verified(token, secret)
        expires = claims.get("exp")
        if not isinstance(expires, (int, float)):
            raise RefusedError(40144, 401, "Invalid token: no exp claim")
        expires_ms = round(expires * 1000)
        if expires_ms <= self._clock.now():
            raise RefusedError(40142, 401, "Token expired")
        client_id = claims.get("x-ably-clientId")
        text = claims.get("x-ably-capability")
        return Identity(
            str(name),
            client_id if isinstance(client_id, str) and client_id else None,
            parse_capability(text) if isinstance(text, str) else EVERYTHING,
            expires_ms,
        )


def _verified(token: str, secret: str) -> dict[str, object]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            # The times are left to the server's own clock.
            claims: dict[str, Any] = _decode(
                token,
                secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
            )
    except jwt.InvalidSignatureError as error:
        raise RefusedError(40101, 401, "Invalid credentials: the token's signature does not match") from error
    except jwt.PyJWTError as error:
        raise RefusedError(40144, 401, f"Invalid token: {error}") from error
    return cast("dict[str, object]", claims)


def _mac(secret: str, key_name: str, request: Mapping[str, Value]) -> str:
    def field(name: str) -> str:
        value = request.get(name)
        return "" if value is None else str(value)

    text = "".join(
        f"{value}\n"
        for value in (
            key_name,
            field("ttl"),
            field("capability"),
            field("clientId"),
            field("timestamp"),
            field("nonce"),
        )
    )
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _milliseconds(ttl: Value) -> int:
    if ttl is None or ttl == "":
        return DEFAULT_TTL_MS
    try:
        value = int(cast("int", ttl))
    except (TypeError, ValueError):
        raise bad_request("ttl must be a number of milliseconds", 40003) from None
    if value <= 0:
        raise bad_request("ttl must be positive", 40003)
    return value
