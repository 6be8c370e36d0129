"""Token requests and revocation (Ably specification RSA8, RSA9, RSA17)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.auth.capability import Capability, capability_of, parse_capability
from ably_ai_transport.local.auth.credentials import DEFAULT_TTL_MS, MAX_CLIENT_ID, same
from ably_ai_transport.local.auth.nonces import UsedNonces
from ably_ai_transport.local.protocol.parse import MAX_INTEGER, boolean, integer, integer_of, shown, text
from ably_ai_transport.local.protocol.refusals import (
    RefusedError,
    bad_client_id,
    bad_parameter,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.auth.credentials import Authority, Identity
    from ably_ai_transport.local.auth.keys import ApiKey
    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.protocol.frames import Value
    from ably_ai_transport.local.protocol.parse import Refusal

MAX_TTL_MS: Final = 24 * 3_600_000
TIMESTAMP_WINDOW_MS: Final = 15 * 60_000
MIN_NONCE: Final = 16
MAX_NONCE: Final = 512
REAUTH_MARGIN_MS: Final = 30_000

_SIGNED: Final = ("ttl", "capability", "clientId", "timestamp", "nonce")
_REVOCABLE: Final = ("clientId", "revocationKey")
_MAX_TARGETS: Final = 100
_MAX_TARGET: Final = 2048


class TokenDesk:
    """Issues and revokes tokens."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        # A replay after the timestamp window is refused anyway.
        self._nonces = UsedNonces(clock, 2 * TIMESTAMP_WINDOW_MS)

    def details(
        self, key_name: str, request: Mapping[str, Value], identity: Identity | None
    ) -> dict[str, Value]:
        """Answer a token request, signed or authenticated with the key itself.

        Args:
            key_name: The key in the path.
            request: The TokenRequest, or the bare parameters.
            identity: The identity of the requester, if there were credentials.

        Returns:
            TokenDetails.

        Raises:
            RefusedError: 40101 key or mac, 40102 another key, 40104 timestamp, 40105 nonce, 40003 ttl,
                40012 clientId, 40000 capability, 40160 the key grants nothing of it.
        """
        key = self._authority.find(key_name)
        if key is None:
            raise RefusedError(40101, 401, f"unknown key {shown(key_name)}")
        if request.get("keyName", key_name) != key_name:
            raise RefusedError(40102, 401, "the token request is for another key")
        is_signed = request.get("mac") is not None
        if is_signed:
            self._check_signature(key, request)
        elif identity is None or identity.key_name != key_name or identity.is_token:
            raise RefusedError(40101, 401, "a token request must be signed or authenticated with the key")
        ttl_ms = _ttl(request.get("ttl"))
        client_id = _client_id(request.get("clientId"))
        capability = _capability(request.get("capability"), key, is_signed=is_signed)
        issued = self._clock.now()
        token = self._authority.issue(
            client_id=client_id, capability=capability, ttl_ms=ttl_ms, key_name=key_name
        )
        details: dict[str, Value] = {
            "token": token,
            "keyName": key_name,
            "issued": issued,
            "expires": issued + ttl_ms,
            "capability": capability.to_json(),
        }
        if client_id is not None:
            details["clientId"] = client_id
        return details

    def revoke(
        self, key_name: str, request: Mapping[str, Value], identity: Identity
    ) -> list[dict[str, Value]]:
        """Revoke the tokens of some targets.

        Returns:
            The outcome for each target, in order.

        Raises:
            RefusedError: 40162 not authenticated with the key, 40163 its tokens cannot be revoked, 40000 no
                targets.
        """
        if identity.is_token or identity.key_name != key_name:
            raise RefusedError(40162, 401, "tokens can only be revoked with the key they were made under")
        key = self._authority.find(key_name)
        if key is None or not key.revocable:
            raise RefusedError(40163, 401, "tokens of this key cannot be revoked")
        targets = request.get("targets")
        if not isinstance(targets, list) or not 0 < len(targets) <= _MAX_TARGETS:
            raise bad_request(f"a revocation must name 1 to {_MAX_TARGETS} targets")
        now = self._clock.now()
        issued_before = request.get("issuedBefore")
        issued_before = now if issued_before is None else integer(issued_before, "issuedBefore", 0)
        has_margin = request.get("allowReauthMargin")
        margin = 0
        if has_margin is not None and boolean(has_margin, "allowReauthMargin"):
            margin = REAUTH_MARGIN_MS
        outcomes: list[dict[str, Value]] = []
        for target in targets:
            try:
                name = _target(target)
            except RefusedError as refusal:
                outcomes.append({"target": target, "error": cast("Value", refusal.to_wire())})
                continue
            self._authority.revoke(name, issued_before)
            outcomes.append({"target": name, "issuedBefore": issued_before, "appliesAt": now + margin})
        return outcomes

    def _check_signature(self, key: ApiKey, request: Mapping[str, Value]) -> None:
        mac = request.get("mac")
        if not isinstance(mac, str) or not same(mac, _mac(key, request)):
            raise RefusedError(40101, 401, "the mac of the token request does not match")
        now = self._clock.now()
        timestamp = _number(request.get("timestamp"), "the timestamp of the token request", _bad_timestamp)
        if abs(timestamp - now) > TIMESTAMP_WINDOW_MS:
            raise _bad_timestamp("the timestamp of the token request is not current")
        nonce = text(request.get("nonce"), "a nonce", MAX_NONCE, refusal=bad_parameter)
        if len(nonce) < MIN_NONCE:
            raise bad_parameter(f"a nonce must have at least {MIN_NONCE} characters")
        self._nonces.use(key.name, nonce, timestamp)


def _mac(key: ApiKey, request: Mapping[str, Value]) -> str:
    signed = "".join(f"{_signed_text(name, request.get(name))}\n" for name in _SIGNED)
    content = f"{key.name}\n{signed}".encode()
    return base64.b64encode(hmac.new(key.secret.encode(), content, hashlib.sha256).digest()).decode()


def _signed_text(name: str, value: Value) -> str:
    """Return a field as it is signed; only text and whole numbers have one form in all languages."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(integer(value, name, -MAX_INTEGER, refusal=_REFUSALS.get(name, bad_request)))
    return text(value, name, refusal=_REFUSALS.get(name, bad_request))


def _bad_timestamp(message: str) -> RefusedError:
    return RefusedError(40104, 401, message)


_REFUSALS: Final[dict[str, Refusal]] = {
    "ttl": bad_parameter,
    "clientId": bad_client_id,
    "timestamp": _bad_timestamp,
    "nonce": bad_parameter,
}


def _number(value: Value, name: str, refusal: Refusal, most: int = MAX_INTEGER) -> int:
    """Return a number of milliseconds; some SDKs write it as text."""
    if isinstance(value, str):
        return integer_of(value, name, 1, most, refusal=refusal)
    return integer(value, name, 1, most, refusal=refusal)


def _ttl(value: Value) -> int:
    if value is None or value == "":
        return DEFAULT_TTL_MS
    return _number(value, "ttl", bad_parameter, MAX_TTL_MS)


def _client_id(value: Value) -> str | None:
    if value is None:
        return None
    client_id = text(value, "the clientId of a token", MAX_CLIENT_ID, refusal=bad_client_id)
    if not client_id:
        raise bad_client_id("the clientId of a token must not be empty")
    return client_id


def _target(value: Value) -> str:
    target = text(value, "a revocation target", _MAX_TARGET)
    kind, _, name = target.partition(":")
    if kind not in _REVOCABLE or not name:
        raise bad_request(f"unsupported revocation target: {shown(target)}")
    return target


def _capability(value: Value, key: ApiKey, *, is_signed: bool) -> Capability:
    if value is None or value == "":
        return key.capability
    # Only the text of a capability is signed; a request with the key itself may hold the object.
    asked = capability_of(value) if isinstance(value, dict) and not is_signed else parse_capability(value)
    granted = asked.intersect(key.capability)
    if not granted:
        raise RefusedError(40160, 401, "the key grants nothing of the requested capability")
    return granted
