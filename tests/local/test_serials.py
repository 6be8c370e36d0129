from __future__ import annotations

import re

from ably_ai_transport.local.protocol.serials import SerialMinter, message_serial
from tests.local.manual_clock import START, ManualClock


def test_serials_have_the_documented_shape() -> None:
    minter = SerialMinter(ManualClock())
    assert re.fullmatch(rf"0{START}-000@[A-Za-z0-9]{{10}}", minter.mint())
    assert message_serial("0-0@x", 7) == "0-0@x:007"


def test_serials_ascend_as_strings_while_the_clock_stands_still() -> None:
    minter = SerialMinter(ManualClock())
    minted = [minter.mint() for _ in range(2500)]
    assert minted == sorted(set(minted))


def test_serials_ascend_when_the_clock_steps_back() -> None:
    clock = ManualClock()
    minter = SerialMinter(clock)
    before = minter.mint()
    clock.time -= 60_000
    assert minter.mint() > before
    assert minter.ms == START


def test_serials_contain_nothing_that_breaks_a_link_header() -> None:
    assert not set(SerialMinter(ManualClock()).mint()) & set(',;<>" ')


def test_a_minter_knows_its_own_serials() -> None:
    one, other = SerialMinter(ManualClock()), SerialMinter(ManualClock())
    assert one.is_ours(one.mint())
    assert not one.is_ours(other.mint())
