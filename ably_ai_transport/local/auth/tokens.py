"""Token requests and revocation (Ably specification RSA8, RSA9, RSA17)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.local.auth.capability import Capability, parse_capability
from ably_ai_transport.local.auth.credentials import DEFAULT_TTL_MS
from ably_ai_transport.local.auth.nonces import UsedNonces
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.auth.credentials import Authority, Identity
    from ably_ai_transport.local.auth.keys import ApiKey
    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.protocol.frames import Value

MAX_TTL_MS: Final = 24 * 3_600_000
TIMESTAMP_WINDOW_MS: Final = 15 * 60_000
MIN_NONCE: Final = 16
REAUTH_MARGIN_MS: Final = 30_000

_SIGNED: Final = ("ttl", "capability", "clientId", "timestamp", "nonce")
_REVOCABLE: Final = ("clientId", "revocationKey")


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
            raise RefusedError(40101, 401, f"unknown key {key_name!r}")
        if request.get("keyName", key_name) != key_name:
            raise RefusedError(40102, 401, "the token request is for another key")
        if request.get("mac") is not None:
            self._check_signature(key, request)
        elif identity is None or identity.key_name != key_name or identity.is_token:
            raise RefusedError(40101, 401, "a token request must be signed or authenticated with the key")
        ttl_ms = _ttl(request.get("ttl"))
        client_id = _client_id(request.get("clientId"))
        capability = _capability(request.get("capability"), key)
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
        if not isinstance(targets, list) or not targets:
            raise bad_request("a revocation must name targets")
        now = self._clock.now()
        issued_before = request.get("issuedBefore")
        if not isinstance(issued_before, int):
            issued_before = now
        margin = REAUTH_MARGIN_MS if request.get("allowReauthMargin") is True else 0
        outcomes: list[dict[str, Value]] = []
        for target in targets:
            kind, _, value = target.partition(":") if isinstance(target, str) else ("", "", "")
            if kind not in _REVOCABLE or not value:
                error = bad_request(f"unsupported revocation target: {target!r}")
                outcomes.append({"target": target, "error": cast("Value", error.to_wire())})
                continue
            self._authority.revoke(cast("str", target), issued_before)
            outcomes.append({"target": target, "issuedBefore": issued_before, "appliesAt": now + margin})
        return outcomes

    def _check_signature(self, key: ApiKey, request: Mapping[str, Value]) -> None:
        mac = request.get("mac")
        if not isinstance(mac, str) or not hmac.compare_digest(mac.encode(), _mac(key, request).encode()):
            raise RefusedError(40101, 401, "the mac of the token request does not match")
        now = self._clock.now()
        timestamp = _number(request.get("timestamp"))
        if timestamp is None or abs(timestamp - now) > TIMESTAMP_WINDOW_MS:
            raise RefusedError(40104, 401, "the timestamp of the token request is not current")
        nonce = request.get("nonce")
        if not isinstance(nonce, str) or len(nonce) < MIN_NONCE:
            raise bad_request(f"a nonce must have at least {MIN_NONCE} characters", 40003)
        self._nonces.use(key.name, nonce, timestamp)


def _mac(key: ApiKey, request: Mapping[str, Value]) -> str:
    values = [key.name, *(request.get(name) for name in _SIGNED)]
    text = "".join(f"{'' if value is None else value}\n" for value in values)
    return base64.b64encode(hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _number(value: Value) -> int | None:
    try:
        return int(cast("int", value))
    except (TypeError, ValueError, OverflowError):
        return None


def _ttl(value: Value) -> int:
    if value is None or value == "":
        return DEFAULT_TTL_MS
    ttl_ms = _number(value)
    if ttl_ms is None or not 0 < ttl_ms <= MAX_TTL_MS:
        raise bad_request(f"ttl must be a number of milliseconds from 1 to {MAX_TTL_MS}", 40003)
    return ttl_ms


def _client_id(value: Value) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise RefusedError(40012, 400, "the clientId of a token must be a non-empty string")
    return value


def _capability(value: Value, key: ApiKey) -> Capability:
    if value is None or value == "":
        return key.capability
    asked = parse_capability(value if isinstance(value, str) else json.dumps(value))
    granted = asked.intersect(key.capability)
    if not granted:
        raise RefusedError(40160, 401, "the key grants nothing of the requested capability")
    return granted
