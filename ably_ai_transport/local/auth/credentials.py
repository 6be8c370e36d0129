"""Credentials: the identity behind a key or a token, and the rules about clientId."""

from __future__ import annotations

import hmac
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from ably_ai_transport.local.auth.capability import EVERYTHING, Capability, parse_capability
from ably_ai_transport.local.auth.keys import ApiKey, app_id_of
from ably_ai_transport.local.protocol.parse import shown, text
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_client_id, bad_token
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.clock import Clock

DEFAULT_TTL_MS: Final = 3_600_000
LEEWAY_MS: Final = 60_000
"""How far `iat` and `nbf` of a token may lie ahead of the server's clock. Ably documents no leeway; RFC 7519
(section 4.1.5) leaves at most a few minutes to the clocks."""
MAX_CLIENT_ID: Final = 1024
WILDCARD: Final = "*"
_JWT_DOTS: Final = 2
_MAX_SECONDS: Final = 253_402_300_799
"""The end of the year 9999."""

# Their types mention an optional package.
_encode = cast("Any", jwt).encode
_decode = cast("Any", jwt).decode


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified content of a credential.

    Attributes:
        key_name: The API key behind the credential.
        client_id: A name, `*` for any name, None for an anonymous client.
        capability: The operations granted.
        expires: When the token expires (milliseconds); None for an API key.
        issued: When the token was issued (milliseconds); None for an API key.
        revocation_key: A name under which several tokens can be revoked.
    """

    key_name: str
    client_id: str | None
    capability: Capability
    expires: int | None = None
    issued: int | None = None
    revocation_key: str | None = None

    @property
    def is_token(self) -> bool:
        """Whether the credential is a token, not the key itself."""
        return self.expires is not None

    def assume(self, client_id: str | None) -> Identity:
        """Return this identity under the clientId that the client requests.

        Raises:
            RefusedError: 40102, the credential is for another clientId; 40012, the clientId is invalid.
        """
        if client_id is None:
            return self
        if client_id == WILDCARD or not client_id:
            raise RefusedError(40012, 400, "clientId must not be empty or a wildcard")
        client_id = text(client_id, "clientId", MAX_CLIENT_ID, refusal=bad_client_id)
        if self.client_id not in (WILDCARD, client_id):
            raise RefusedError(40102, 401, f"credentials are not valid for clientId {shown(client_id)}")
        return replace(self, client_id=client_id)

    def author(self, claimed: str | None) -> str | None:
        """Return the clientId for a message of this identity.

        Raises:
            RefusedError: 40012, the message claims another clientId.
        """
        if self.client_id == WILDCARD:
            if claimed == WILDCARD:
                raise RefusedError(40012, 400, "the clientId of a message must not be a wildcard")
            return claimed
        if claimed is not None and claimed != self.client_id:
            raise RefusedError(40012, 400, f"mismatched clientId in message: {shown(claimed)}")
        return self.client_id


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a request or of a connection attempt, not verified yet."""

    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None

    @property
    def key_name(self) -> str | None:
        """The name of the key that they claim, if any."""
        if self.token:
            return _key_name_of(self.token)
        return self.key.partition(":")[0] if self.key else None


class Authority:
    """Holds the API keys of an app and verifies credentials."""

    def __init__(self, keys: Sequence[ApiKey], clock: Clock) -> None:
        self._clock = clock
        self._keys = {key.name: key for key in keys}
        self._revoked: dict[str, int] = {}
        self.key_name = keys[0].name

    @property
    def key(self) -> str:
        """The first API key, in full."""
        return self._keys[self.key_name].full

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """Accept these keys instead."""
        self._keys = {key.name: key for key in keys}
        self.key_name = keys[0].name

    def find(self, key_name: str) -> ApiKey | None:
        """Return a key by its name."""
        return self._keys.get(key_name)

    def identify(self, credentials: Credentials) -> Identity:
        """Verify credentials.

        Raises:
            RefusedError: 40101 bad credentials, 40400 unknown key or app, 40142 expired, 40141 revoked or
                40144 malformed token, 40102 clientId.
        """
        if credentials.token:
            identity = self._from_token(credentials.token)
        elif credentials.key:
            identity = self._from_key(credentials.key)
        else:
            raise RefusedError(40101, 401, "no credentials")
        return identity.assume(credentials.client_id)

    def recall(self, key_name: str, client_id: str | None) -> Identity:
        """Return the identity of a connection of an earlier process; it grants nothing."""
        return Identity(key_name, client_id, Capability({}))

    def issue(
        self,
        *,
        client_id: str | None = None,
        capability: Capability = EVERYTHING,
        ttl_ms: int = DEFAULT_TTL_MS,
        key_name: str | None = None,
    ) -> str:
        """Return a signed JWT (claims as in Ably's documentation of JWTs)."""
        key = self._keys[key_name or self.key_name]
        now = self._clock.now()
        claims: dict[str, object] = {
            "iat": now / 1000,
            "exp": (now + ttl_ms) / 1000,
            "jti": random_id(16),
            "x-ably-capability": capability.to_json(),
        }
        if client_id is not None:
            claims["x-ably-clientId"] = client_id
        with warnings.catch_warnings():  # a short secret is fine on a development server
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            return _encode(claims, key.secret, algorithm="HS256", headers={"kid": key.name})

    def revoke(self, target: str, issued_before: int) -> None:
        """Revoke the tokens of a target (`clientId:…` or `revocationKey:…`) issued before a time."""
        self._revoked[target] = max(issued_before, self._revoked.get(target, 0))

    def is_revoked(self, identity: Identity) -> bool:
        """Tell whether the token of an identity has been revoked."""
        if not self._revoked or identity.issued is None:
            return False
        targets = (f"clientId:{identity.client_id}", f"revocationKey:{identity.revocation_key}")
        return any(identity.issued < self._revoked.get(target, 0) for target in targets)

    def _from_key(self, text: str) -> Identity:
        name, _, secret = text.partition(":")
        key = self._keys.get(name)
        if key is None and self._has_app(name):
            raise RefusedError(40400, 401, f"No key found with name {shown(name)}")
        if key is None or not same(secret, key.secret):
            raise RefusedError(40101, 401, "Invalid credentials")
        return Identity(name, WILDCARD, key.capability)

    def _has_app(self, key_name: str) -> bool:
        return app_id_of(key_name) in {app_id_of(known) for known in self._keys}

    def _from_token(self, token: str) -> Identity:
        name = _key_name_of(token)
        if name is None:
            # 40144 makes clients renew the token; that helps only if it looks like a JWT.
            code = 40144 if token.count(".") == _JWT_DOTS else 40101
            raise RefusedError(code, 401, "Invalid token: it names no key")
        key = self._keys.get(name)
        if key is None:
            if not self._has_app(name):
                raise RefusedError(40400, 404, f"No application found with id {shown(app_id_of(name))}")
            raise RefusedError(40101, 401, f"Invalid credentials: unknown key {shown(name)}")
        identity = self._identity(_verified(token, key.secret), key)
        if self.is_revoked(identity):
            raise RefusedError(40141, 401, "Token revoked")
        return identity

    def _identity(self, claims: Mapping[str, object], key: ApiKey) -> Identity:
        """Return the identity of verified claims. A claim of a wrong type is refused: it grants nothing."""
        now = self._clock.now()
        expires, issued = _time(claims, "exp"), _time(claims, "iat")
        if expires <= now:
            raise RefusedError(40142, 401, "Token expired")
        if issued > now + LEEWAY_MS:
            raise bad_token("its iat claim lies in the future")
        if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY_MS:
            raise bad_token("its nbf claim lies in the future")
        capability = key.capability
        if "x-ably-capability" in claims:
            asked = parse_capability(claims["x-ably-capability"], refusal=bad_token)
            capability = asked.intersect(capability)
        return Identity(
            key.name,
            _text(claims, "x-ably-clientId"),
            capability,
            expires,
            issued,
            _text(claims, "x-ably-revocation-key"),
        )


def same(given: str, secret: str) -> bool:
    """Compare a secret in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode(errors="surrogatepass"))


def _key_name_of(token: str) -> str | None:
    # The library only expects errors of its own: not the depth of the header, nor half a surrogate pair.
    try:
        name = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return name if isinstance(name, str) else None


def _time(claims: Mapping[str, object], name: str) -> int:
    """Return a NumericDate claim in milliseconds."""
    seconds = claims.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= _MAX_SECONDS:
        raise bad_token(f"its {name} claim must be a time in seconds, not {shown(seconds)}")
    return round(seconds * 1000)


def _text(claims: Mapping[str, object], name: str) -> str | None:
    """Return a claim that is text and not empty; None when there is none."""
    if name not in claims:
        return None
    value = text(claims[name], f"its {name} claim", MAX_CLIENT_ID, refusal=bad_token)
    if not value:
        raise bad_token(f"its {name} claim must not be empty")
    return value


def _verified(token: str, secret: str) -> dict[str, object]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            # The caller checks the times against the server's own clock.
            claims: dict[str, Any] = _decode(
                token,
                secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
            )
    except jwt.InvalidSignatureError as error:
        raise RefusedError(40101, 401, "Invalid credentials: the token's signature does not match") from error
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise bad_token(str(error)) from error
    return cast("dict[str, object]", claims)
