"""People in the demo: each has an Ably client, a session and a view of the conversation."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
from ably_ai_transport_vercel import (
    UIMessage,
    UIMessageChunk,
    UIMessageCodec,
    VercelInput,
    VercelProjection,
    text_of,
)

from ably_ai_transport import ClientRun, ClientSession, RunInfo, RunStatus
from ably_ai_transport.channel import opened
from ably_ai_transport.cli.problems import CliError

Session: TypeAlias = ClientSession[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
Run: TypeAlias = ClientRun[VercelInput, UIMessageChunk, VercelProjection, UIMessage]

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One entry of a conversation, as a person sees it.

    Attributes:
        is_reply: Whether the agent says it.
        text: The text so far.
        thought: The model's visible reasoning.
        status: The status of its run; None for a question.
        problem: Why the run failed; empty if it did not.
    """

    is_reply: bool
    text: str = ""
    thought: str = ""
    status: RunStatus | None = None
    problem: str = ""


class Participant:
    """A person with a session.

    Attributes:
        name: The person's name.
        session: The session.
        revision: Number of changes of the person's view.
    """

    def __init__(self, name: str, session: Session) -> None:
        self.name = name
        self.session = session
        self.revision = 0
        self._changed = anyio.Event()
        session.view.on_update(self._on_change)
        session.view.on_run(lambda _: self._on_change())

    @property
    def messages(self) -> list[UIMessage]:
        """The visible messages."""
        return [message.message for message in self.session.view.messages]

    @property
    def last_run(self) -> RunInfo | None:
        """The newest run on the branch."""
        runs = self.session.view.runs()
        return runs[-1] if runs else None

    def utterances(self) -> list[Utterance]:
        """Return the visible conversation, oldest first."""
        view = self.session.view
        found: list[Utterance] = []
        shown: set[str] = set()
        for message in view.messages:
            run = view.run_of(message.codec_message_id)
            is_reply = message.message["role"] == "assistant"
            text, thought = (_joined(message.message, kind) for kind in ("text", "reasoning"))
            if is_reply and run is not None:
                shown.add(run.run_id)
            found.append(_utterance(is_reply, run, text, thought))
        # A run has no message before its first output.
        found += [_utterance(True, run) for run in view.runs() if run.run_id not in shown]
        return found

    def reply_text(self) -> str:
        """Return the text of the newest reply; empty before it begins."""
        messages = self.messages
        return text_of(messages[-1]) if messages and messages[-1]["role"] == "assistant" else ""

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the person's view meets a condition.

        Args:
            condition: Evaluated after each change.
            what: The awaited event, in words.

        Raises:
            CliError: It did not happen in time.
        """
        with anyio.move_on_after(PATIENCE_SECONDS):
            while not condition():
                await self._changed.wait()
            return
        raise CliError(f"{self.name} did not see {what} within {PATIENCE_SECONDS:.0f} s")

    def _on_change(self) -> None:
        self.revision += 1
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def participant(
    name: str, options: Mapping[str, Any], session_name: str
) -> AsyncGenerator[Participant]:
    """Open a person's session in a conversation.

    Args:
        name: The person's name.
        options: The options of the person's Ably client.
        session_name: The conversation.

    Yields:
        The person, connected. History is not loaded.
    """
    async with (
        opened(options) as client,
        ClientSession(client, session_name, codec=UIMessageCodec()) as session,
    ):
        yield Participant(name, session)


def _utterance(is_reply: bool, run: RunInfo | None, text: str = "", thought: str = "") -> Utterance:
    if not is_reply or run is None:
        return Utterance(is_reply, text, thought)
    return Utterance(is_reply, text, thought, run.status, run.error.message if run.error else "")


def _joined(message: UIMessage, kind: str) -> str:
    return "\n\n".join(str(part.get("text", "")) for part in message["parts"] if part["type"] == kind)
