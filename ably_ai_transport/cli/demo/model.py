"""Replies from a real model, over OpenAI's Responses API."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import httpx
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, text_of
from ably_ai_transport_vercel.adapters import Event, ResponsesTranslator
from ably_ai_transport_vercel.adapters.reading import map_at, text_at

from ably_ai_transport import AITransportError, ErrorCode
from ably_ai_transport.cli.demo.built_in import QUESTIONS
from ably_ai_transport.cli.demo.replies import ReplySource

PUBLIC_API = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-5-mini"
_INSTRUCTIONS = "Answer in plain text without any markup, in about 250 words."
_TIMEOUT = httpx.Timeout(60, connect=10)


@dataclass(slots=True)
class Model(ReplySource):
    """A model behind the Responses API, or behind a compatible one.

    Attributes:
        api_key: The key.
        model: The model's name.
        base_url: The API's address.
    """

    api_key: str
    model: str = DEFAULT_MODEL
    base_url: str = PUBLIC_API
    label: str = ""
    questions: Sequence[str] = QUESTIONS

    def __post_init__(self) -> None:
        self.label = f"the model {self.model}, live"

    @classmethod
    def from_env(cls, env: Mapping[str, str], model: str | None = None) -> "Model | None":
        """Find a model in environment variables.

        Args:
            env: ``OPENAI_API_KEY`` is needed, ``OPENAI_BASE_URL`` and ``OPENAI_MODEL`` are used.
            model: The model's name; None takes it from the environment.

        Returns:
            The model; None without a key.
        """
        key = env.get("OPENAI_API_KEY")
        if not key:
            return None
        base_url = (env.get("OPENAI_BASE_URL") or PUBLIC_API).rstrip("/")
        return cls(key, model or env.get("OPENAI_MODEL") or DEFAULT_MODEL, base_url)

    async def reply(self, conversation: Sequence[UIMessage]) -> AsyncGenerator[UIMessageChunk]:
        """Ask the model.

        Args:
            conversation: The messages so far.

        Yields:
            The chunks of its reply.

        Raises:
            AITransportError: The model could not be reached, refused the request, or failed (104008).
        """
        translator = ResponsesTranslator()
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT) as http:
                request = http.build_request(
                    "POST",
                    f"{self.base_url}/responses",
                    headers={"Authorization": f"Bearer {self.api_key}", "Accept": "text/event-stream"},
                    json={
                        "model": self.model,
                        "instructions": _INSTRUCTIONS,
                        "input": [
                            {"role": message["role"], "content": text_of(message)}
                            for message in conversation
                            if text_of(message)
                        ],
                        "stream": True,
                    },
                )
                response = await http.send(request, stream=True)
                try:
                    if response.is_error:
                        raise _refused(response.status_code, await response.aread())
                    async for event in read_events(response.aiter_lines()):
                        for chunk in translator.feed(event):
                            yield chunk
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise AITransportError(
                f"unable to answer; the model at {self.base_url} cannot be reached: {reason}",
                ErrorCode.STREAM_ERROR,
                cause=error,
            ) from error
        if not translator.is_finished:
            raise AITransportError("unable to answer; the model's stream broke off", ErrorCode.STREAM_ERROR)
        for chunk in translator.finish():
            yield chunk


async def read_events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Read server-sent events.

    Args:
        lines: The lines of the response.

    Yields:
        The JSON object of each event.
    """
    data: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            event = _parse(data)
            data = []
            if event is not None:
                yield event
    event = _parse(data)
    if event is not None:
        yield event


def _parse(data: Sequence[str]) -> Event | None:
    text = "\n".join(data)
    if not text or text == "[DONE]":
        return None
    try:
        event: object = json.loads(text)
    except ValueError as error:
        raise AITransportError(
            "unable to answer; the model sent an event that is no JSON", ErrorCode.STREAM_ERROR, cause=error
        ) from error
    return cast("Event", event) if isinstance(event, dict) else None


def _refused(status: int, body: bytes) -> AITransportError:
    reason = ""
    try:
        content: object = json.loads(body)
        if isinstance(content, dict):
            reason = text_at(map_at(cast("Event", content), "error"), "message")
    except ValueError:
        pass
    return AITransportError(
        f"unable to answer; the model refused with status {status}{reason and ': '}{reason}",
        ErrorCode.STREAM_ERROR,
    )
