"""Publishing to several channels at once, and asking for the members of several (RSC22, RSC24)."""

from __future__ import annotations

from typing import Any

import pytest

from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.apps import provision
from tests.local.raw_client import raw_client

SPEC = {"keys": [{}, {"capability": '{"a":["publish","history"],"b":["subscribe"],"p":["presence"]}'}]}
VERSION = {"X-Ably-Version": "6"}


async def test_each_channel_of_a_batch_has_an_outcome() -> None:
    async with provision(SPEC) as app:
        auth = app.keys[1].auth
        batch: Any = {"channels": ["a", "b", "[x"], "messages": [{"data": "1"}, {"data": "2"}]}
        response = await app.client.post("/messages", json=batch, auth=auth, headers=VERSION)
        told = response.json()
        assert (response.status_code, told["successCount"], told["failureCount"]) == (201, 1, 2)
        fine, denied, nameless = told["results"]
        assert fine["channel"] == "a"
        assert fine["messageId"]
        assert len(fine["serials"]) == 2
        assert (denied["channel"], denied["error"]["code"]) == ("b", 40160)
        assert nameless["error"]["code"] == 40010
        history = await app.client.get("/channels/a/messages", auth=auth)
        assert [message["data"] for message in history.json()] == ["2", "1"]


async def test_several_batches_are_answered_in_order() -> None:
    async with provision(SPEC) as app:
        batches = [{"channels": [name], "messages": {"data": name}} for name in ("a", "b")]
        response = await app.client.post("/messages", json=batches, auth=app.keys[0].auth, headers=VERSION)
        assert [item["results"][0]["channel"] for item in response.json()] == ["a", "b"]


async def test_old_clients_get_a_flat_answer() -> None:
    headers = {"X-Ably-Version": "2"}
    async with provision(SPEC) as app:
        batch: Any = {"channels": ["a", "c"], "messages": {"data": "x"}}
        fine = await app.client.post("/messages", json=batch, auth=app.keys[0].auth, headers=headers)
        assert (fine.status_code, [item["channel"] for item in fine.json()]) == (201, ["a", "c"])
        mixed = await app.client.post("/messages", json=batch, auth=app.keys[1].auth, headers=headers)
        assert (mixed.status_code, mixed.json()["error"]["code"]) == (400, 40020)
        assert mixed.headers["X-Ably-Errorcode"] == "40020"
        assert [("error" in item) for item in mixed.json()["batchResponse"]] == [False, True]


@pytest.mark.parametrize(
    "batch",
    [
        [],
        "x",
        {},
        {"channels": [], "messages": {"data": "x"}},
        {"channels": [5], "messages": {"data": "x"}},
        {"channels": [str(n) for n in range(101)], "messages": {"data": "x"}},
    ],
)
async def test_what_is_no_batch_is_refused(batch: object) -> None:
    async with provision(SPEC) as app:
        response = await app.client.post("/messages", json=batch, auth=app.keys[0].auth)
        assert (response.status_code, response.json()["error"]["code"]) == (400, 40000)


async def test_a_message_that_cannot_be_published_fails_in_its_channel() -> None:
    async with provision(SPEC) as app:
        for message in ({"data": 5}, {"action": 5, "serial": "x", "data": "y"}):
            batch = {"channels": ["a"], "messages": [message]}
            response = await app.client.post("/messages", json=batch, auth=app.keys[0].auth, headers=VERSION)
            assert response.json()["failureCount"] == 1


async def test_the_members_of_several_channels() -> None:
    async with (
        provision(SPEC) as app,
        raw_client(app.server, "alice", credentials=False, key=str(app.keys[0])) as alice,
    ):
        event = {"action": PresenceAction.ENTER}
        await alice.send({"action": Action.PRESENCE, "channel": "p", "msgSerial": 0, "presence": [event]})
        await alice.answer()
        response = await app.client.get("/presence", params={"channels": "p,a"}, auth=app.keys[1].auth)
        told = response.json()
        assert (told["successCount"], told["failureCount"]) == (1, 1)
        present, denied = told["results"]
        assert [member["clientId"] for member in present["presence"]] == ["alice"]
        assert denied["error"]["code"] == 40160
        nothing = await app.client.get("/presence", auth=app.keys[0].auth)
        assert nothing.json()["error"]["code"] == 40000
