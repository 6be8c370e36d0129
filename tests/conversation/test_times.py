"""The times of a run: the server's, in any order of arrival."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport import Codec
from ably_ai_transport.codec import LifecycleOnlyCodec
from ably_ai_transport.conversation import RunNode, Tree
from ably_ai_transport.wire import InboundMessage, MessageAction, names
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import CODEC

RUN = {names.RUN_ID: "r", names.INVOCATION_ID: "i"}
STREAM = {**RUN, names.STREAM: "true", names.STATUS: "streaming", names.CODEC_MESSAGE_ID: "a"}


def message(number: int, name: str, headers: dict[str, str], **fields: object) -> InboundMessage:
    serial = f"{number:03d}"
    defaults: dict[str, object] = {"serial": serial, "version": serial, "timestamp": number}
    return InboundMessage(name=name, extras=ai_extras(headers), **(defaults | fields))  # type: ignore[arg-type]


def run_of(messages: list[InboundMessage], codec: Codec[Any, Any, Any, Any] = CODEC) -> RunNode[Any]:
    tree = Tree(codec)
    for one in messages:
        tree.apply(one)
    node = tree.get_run_node("r")
    assert node is not None
    return node


LIFE = [
    message(10, names.RUN_START, {**RUN, names.INPUT_CODEC_MESSAGE_ID: "m1"}),
    message(20, names.STEP_START, {**RUN, names.STEP_ID: "s"}),
    message(30, names.RUN_SUSPEND, RUN),
    message(40, names.RUN_RESUME, {**RUN, names.INVOCATION_ID: "j", names.INPUT_CODEC_MESSAGE_ID: "m2"}),
    message(50, names.STEP_START, {**RUN, names.INVOCATION_ID: "j", names.STEP_ID: "s"}),
    message(60, names.RUN_END, {**RUN, names.INVOCATION_ID: "j", names.RUN_REASON: "complete"}),
    message(70, names.RUN_END, {**RUN, names.RUN_REASON: "error"}),
]


@given(st.permutations(LIFE))
def test_times_and_claims_are_those_of_the_channel(messages: list[InboundMessage]) -> None:
    node = run_of(messages)
    assert (node.started_at, node.last_heard_at, node.ended_at) == (10, 70, 60)
    assert node.claim is not None
    assert node.claim.serial == "050"
    assert node.trigger is not None
    assert node.trigger.input_codec_message_id == "m2"


def test_a_run_that_goes_on_has_no_end() -> None:
    node = run_of(LIFE[:3])
    assert (node.status, node.ended_at) == ("suspended", None)


@pytest.mark.parametrize("codec", [CODEC, LifecycleOnlyCodec()], ids=["vercel", "none"])
@pytest.mark.parametrize("order", list(permutations(range(5))))
def test_each_append_is_heard_and_clients_are_not(
    codec: Codec[Any, Any, Any, Any], order: tuple[int, ...]
) -> None:
    text = message(20, names.AI_OUTPUT, STREAM, data="")
    grown = [
        replace(text, action=MessageAction.APPEND, name=None, data="x", version=f"{t:03d}", changed_at=t)
        for t in (25, 35)
    ]
    steer = message(90, names.AI_INPUT, {**RUN, names.ROLE: "user", names.CODEC_MESSAGE_ID: "steer"})
    messages = [LIFE[0], text, *grown, steer]
    assert run_of([messages[i] for i in order], codec).last_heard_at == 35
