import json
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
import respx
from ably_ai_transport_vercel import UIMessageChunk, text_message

from ably_ai_transport import AITransportError, ErrorCode, error_is
from ably_ai_transport.cli.demo.model import DEFAULT_MODEL, PUBLIC_API, Model, read_events
from tests.cli.chunks import check_reply
from tests.cli.test_replies import responses

BASE = "http://model.test/v1"
CONVERSATION = [text_message("hi"), text_message("hello", "assistant"), text_message("how are you?")]


def sse(events: Iterable[object]) -> bytes:
    return "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in events).encode()


async def ask(model: Model) -> list[UIMessageChunk]:
    return [chunk async for chunk in model.reply(CONVERSATION)]


@respx.mock
async def test_it_streams_from_the_model() -> None:
    route = respx.post(f"{BASE}/responses").respond(200, content=sse(responses(["I ", "am ", "fine."])))
    assert check_reply(await ask(Model("secret", "some-model", BASE))) == "I am fine."
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer secret"
    body = json.loads(request.content)
    assert body["model"] == "some-model"
    assert body["stream"] is True
    assert body["input"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "how are you?"},
    ]


@respx.mock
@pytest.mark.parametrize(
    ("response", "told"),
    [
        (httpx.Response(401, json={"error": {"message": "bad key"}}), "status 401: bad key"),
        (httpx.Response(500, text="<html>"), "status 500"),
        (httpx.Response(200, content=sse([{"type": "error", "message": "overloaded"}])), "overloaded"),
        (httpx.Response(200, content=b"data: {oops\n\n"), "no JSON"),
        (httpx.Response(200, content=sse(responses(["a", "b"])[:-1])), "broke off"),
    ],
)
async def test_a_failure_says_why(response: httpx.Response, told: str) -> None:
    respx.post(f"{BASE}/responses").mock(return_value=response)
    with pytest.raises(AITransportError, match=told) as caught:
        await ask(Model("secret", base_url=BASE))
    assert error_is(caught.value, ErrorCode.STREAM_ERROR)
    assert "secret" not in str(caught.value)


@respx.mock
async def test_a_model_that_is_not_there() -> None:
    respx.post(f"{BASE}/responses").mock(side_effect=httpx.ConnectError("connection refused"))
    with pytest.raises(AITransportError, match="cannot be reached: connection refused"):
        await ask(Model("secret", base_url=BASE))


async def test_events_in_every_shape_of_the_format() -> None:
    async def lines() -> AsyncIterator[str]:
        for line in [": hello", "data:{", 'data: "a": 1}', "", "", "data: [DONE]", "", 'data: {"b": 2}']:
            yield line

    assert [event async for event in read_events(lines())] == [{"a": 1}, {"b": 2}]


def test_the_environment_names_the_model() -> None:
    assert Model.from_env({}) is None
    assert Model.from_env({"OPENAI_API_KEY": ""}) is None
    model = Model.from_env({"OPENAI_API_KEY": "k"})
    assert model is not None
    assert (model.model, model.base_url) == (DEFAULT_MODEL, PUBLIC_API)
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://here/v1/", "OPENAI_MODEL": "m"}
    model = Model.from_env(env)
    assert model is not None
    assert (model.model, model.base_url, model.label) == ("m", "http://here/v1", "the model m, live")
    model = Model.from_env(env, "another")
    assert model is not None
    assert model.model == "another"
