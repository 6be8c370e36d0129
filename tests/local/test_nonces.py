"""Nonces pass once, and their table has a bound."""

from __future__ import annotations

import pytest

from ably_ai_transport.local.auth import nonces
from ably_ai_transport.local.auth.nonces import UsedNonces
from ably_ai_transport.local.protocol.refusals import RefusedError
from tests.local.manual_clock import ManualClock

KEPT_MS = 1000


def code_of(used: UsedNonces, nonce: str, key_name: str = "app.key", timestamp: int = 1) -> int:
    try:
        used.use(key_name, nonce, timestamp)
    except RefusedError as refusal:
        return refusal.code
    return 0


def test_a_nonce_passes_once_for_each_key_and_time() -> None:
    clock = ManualClock()
    used = UsedNonces(clock, KEPT_MS)
    assert [code_of(used, "a"), code_of(used, "a"), code_of(used, "b")] == [0, 40105, 0]
    assert [code_of(used, "a", "app.other"), code_of(used, "a", timestamp=2)] == [0, 0]
    clock.advance(KEPT_MS)
    assert code_of(used, "a") == 40105
    clock.advance(1)
    assert code_of(used, "a") == 0


def test_so_many_nonces_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "MOST_NONCES", 3)
    clock = ManualClock()
    used = UsedNonces(clock, KEPT_MS)
    assert [code_of(used, nonce) for nonce in "abcd"] == [0, 0, 0, 42910]
    clock.advance(KEPT_MS + 1)
    assert code_of(used, "d") == 0
