"""Publishes the life of one run and of its steps."""

from collections.abc import Callable
from dataclasses import dataclass

from ably_ai_transport.channel import Channel
from ably_ai_transport.session.answers import note_answer
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    OutboundMessage,
    RunEndReason,
    StepEndReason,
    names,
)
from ably_ai_transport.wire.headers import build_run_headers, build_step_headers
from ably_ai_transport.wire.messages import ai_extras


@dataclass(slots=True)
class RunFacts:
    """What an agent knows of a run, completed when its triggering input is found.

    Attributes:
        run_id: The run.
        invocation_id: The agent's invocation.
        run_client_id: Who owns the run; None until known.
        input_client_id: Who published the triggering input.
        input_codec_message_id: The triggering input.
        run_parent: The input that the run hangs under.
        output_parent: The message that outputs follow.
        fork_of: The message that the input replaces.
        regenerates: The message that the run replaces.
        continues: Whether the run was started before.
    """

    run_id: str
    invocation_id: str
    run_client_id: str | None = None
    input_client_id: str | None = None
    input_codec_message_id: str | None = None
    run_parent: str | None = None
    output_parent: str | None = None
    fork_of: str | None = None
    regenerates: str | None = None
    continues: bool = False


class RunPublisher:
    """Writes lifecycle messages with what is known of a run.

    Args:
        channel: The channel.
        facts: What is known; read at each write.
    """

    def __init__(self, channel: Channel, facts: RunFacts) -> None:
        self._channel = channel
        self._facts = facts

    async def start(self) -> None:
        """Publish that the run starts, or that it goes on.

        Raises:
            AITransportError: The channel refused (104003).
        """
        facts = self._facts
        fresh = not facts.continues
        headers = build_run_headers(
            run_id=facts.run_id,
            run_client_id=facts.run_client_id or "",
            parent=facts.run_parent if fresh else None,
            fork_of=facts.fork_of if fresh else None,
            regenerates=facts.regenerates if fresh else None,
            invocation_id=facts.invocation_id,
            input_client_id=facts.input_client_id,
            input_codec_message_id=facts.input_codec_message_id,
        )
        await self._publish(names.RUN_RESUME if facts.continues else names.RUN_START, headers)

    async def suspend(self) -> None:
        """Publish that the run waits for an answer.

        Raises:
            AITransportError: The channel refused (104003).
        """
        await self._terminal(names.RUN_SUSPEND, None, None)

    async def end(self, reason: RunEndReason, error: AITransportError | None) -> None:
        """Publish that the run ended.

        Args:
            reason: Why.
            error: What clients are told, where the reason is ``error``.

        Raises:
            AITransportError: The channel refused (104003).
        """
        await self._terminal(names.RUN_END, reason, error)

    async def start_step(self, step_id: str, step_client_id: str, on_started: Callable[[str], None]) -> None:
        """Publish that an attempt of a step starts.

        Args:
            step_id: The step.
            step_client_id: Whose input shapes it.
            on_started: Called with the serial that identifies the attempt, as soon as it is known, even where
                the task is being cancelled.

        Raises:
            AITransportError: The channel refused (104003), or returned no serial (50000).
        """
        started: list[str] = []

        def note(serials: list[str | None]) -> None:
            started.extend(serial for serial in serials[:1] if serial is not None)
            for serial in started:
                on_started(serial)

        await self._publish(names.STEP_START, self._step_headers(step_id, step_client_id), note)
        if not started:
            raise AITransportError(
                f"unable to start step; no serial returned for step '{step_id}'", ErrorCode.INTERNAL_ERROR
            )

    async def end_step(
        self, step_id: str, step_client_id: str, start_serial: str, reason: StepEndReason
    ) -> None:
        """Publish that an attempt of a step ended.

        Args:
            step_id: The step.
            step_client_id: Whose input shaped it.
            start_serial: The serial that identifies the attempt.
            reason: Why.

        Raises:
            AITransportError: The channel refused (104003).
        """
        await self._publish(names.STEP_END, self._step_headers(step_id, step_client_id, start_serial, reason))

    def _step_headers(
        self,
        step_id: str,
        step_client_id: str,
        start_serial: str | None = None,
        reason: StepEndReason | None = None,
    ) -> dict[str, str]:
        facts = self._facts
        return build_step_headers(
            run_id=facts.run_id,
            step_id=step_id,
            step_start_serial=start_serial,
            invocation_id=facts.invocation_id,
            run_client_id=facts.run_client_id or "",
            input_client_id=facts.input_client_id,
            step_client_id=step_client_id,
            reason=reason,
        )

    async def _terminal(self, name: str, reason: RunEndReason | None, error: AITransportError | None) -> None:
        facts = self._facts
        headers = build_run_headers(
            run_id=facts.run_id,
            run_client_id=facts.run_client_id or "",
            reason=reason,
            invocation_id=facts.invocation_id,
            input_client_id=facts.input_client_id,
            input_codec_message_id=facts.input_codec_message_id,
            error_code=None if error is None else error.code,
            error_message=None if error is None else error.message,
        )
        await self._publish(name, headers)

    async def _publish(
        self, name: str, headers: dict[str, str], note: Callable[[list[str | None]], None] = lambda _: None
    ) -> None:
        try:
            await note_answer(self._channel.publish([OutboundMessage(name, extras=ai_extras(headers))]), note)
        except AITransportError as error:
            raise AITransportError.wrap(
                f"publish {name.removeprefix('ai-')} for run {self._facts.run_id}",
                error,
                ErrorCode.RUN_LIFECYCLE_ERROR,
            ) from error
