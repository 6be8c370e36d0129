"""Everything that one run puts on the channel: its life, its steps, and the encoders of its outputs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, Literal, TypeAlias

from ably_ai_transport.channel.payload import new_message_id
from ably_ai_transport.codec.contract import Encoder, EncoderOptions, InT, MessageHook, MsgT, OutT, ProjT
from ably_ai_transport.codec.json_text import dump_json
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.agent.hold import RunHold
from ably_ai_transport.session.agent.recovery import Recovery
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    OutboundMessage,
    RunEndReason,
    RunStart,
    StepEnd,
    StepEndReason,
    StepStart,
    names,
)
from ably_ai_transport.wire.headers import (
    build_run_headers,
    build_step_headers,
    build_transport_headers,
)
from ably_ai_transport.wire.messages import ai_extras

RunPhase: TypeAlias = Literal["created", "opening", "open", "closing", "closed"]
RunEvent: TypeAlias = Literal["open", "opened", "failed", "close", "published", "refused", "abandon"]

TRANSITIONS: Final[Mapping[tuple[RunPhase, RunEvent], RunPhase]] = MappingProxyType(
    {
        ("created", "open"): "opening",
        ("opening", "opened"): "open",
        ("opening", "failed"): "closed",
        ("open", "close"): "closing",
        ("closing", "published"): "closed",
        ("closing", "refused"): "open",
        ("created", "abandon"): "closed",
        ("opening", "abandon"): "closed",
        ("open", "abandon"): "closed",
        ("closing", "abandon"): "closed",
    }
)
"""The phases of a run on the agent's side. A pair that is not listed changes nothing.

An end that the channel refuses opens the run again, so that it can be retried.
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step, as messages name it.

    Attributes:
        step_id: The step.
        client_id: Client ID of the sender whose input shapes it; empty when unknown.
        start_serial: The serial of its start, which identifies the attempt.
    """

    step_id: str
    client_id: str
    start_serial: str = ""


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """Limits on publishing appends.

    Attributes:
        append_window: Maximum number of appends that wait for their ack at once.
        merge_appends: Whether text that arrives meanwhile is merged into the next append.
        append_interval: Seconds between two appends of one stream.
    """

    append_window: int
    merge_appends: bool
    append_interval: float


class RunWriter(Generic[InT, OutT, ProjT, MsgT]):
    """Publishes one run: every header and every lifecycle message of it comes from here.

    Each acked message is applied to the session's own conversation at once.

    Args:
        core: The session's parts.
        facts: The run; read at each write.
        limits: Limits on publishing appends.
        on_message: Called with each output message before it is published.
        hold: The gate to the channel.
        recovery: Holds writes back while the channel is away.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        facts: RunFacts,
        limits: WriteLimits,
        on_message: MessageHook | None,
        hold: RunHold[InT, OutT, ProjT, MsgT],
        recovery: Recovery[InT, OutT, ProjT, MsgT],
    ) -> None:
        self.facts = facts
        self.phase: RunPhase = "created"
        self.hold = hold
        self.recovery = recovery
        self._core = core
        self._limits = limits
        self._on_message = on_message
        self._log = core.log.bind(run=facts.run_id)
        self.telemetry = core.telemetry.run()

    @property
    def is_open(self) -> bool:
        """Whether the run can be written to."""
        return self.phase == "open"

    def move(self, event: RunEvent) -> None:
        """Take the run to the phase that follows an event."""
        self.phase = TRANSITIONS.get((self.phase, event), self.phase)
        self.telemetry.moved(self.phase, self.facts.run_id, self.facts.invocation_id)

    def check_opened(self, action: str) -> None:
        """Refuse an operation on a run that was not started.

        Raises:
            InvalidArgumentError: It was not (40003).
        """
        if self.phase in ("created", "opening"):
            raise InvalidArgumentError(
                f"unable to {action}; start() must be called first (run {self.facts.run_id})"
            )

    async def start(self, message_id: str | None) -> None:
        """Publish that the run starts, or that it goes on.

        Args:
            message_id: The id by which the channel takes one start only; None makes one up.

        Raises:
            ChannelRefusedError: The channel refused (104003).
        """
        facts = self.facts
        self.telemetry.begin(facts.run_id, facts.invocation_id)
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
            announced=facts.announced,
        )
        with self.hold.claiming(step=False):
            name = names.RUN_START if fresh else names.RUN_RESUME
            serials = await self._publish(name, headers, message_id)
            self.hold.note_claim(serials[0] if serials else None)
        # Under an id of its own, the start may be that of another process: its echo tells.
        if fresh and message_id is None:
            self._core.conversation.preview(
                RunStart(
                    facts.run_id,
                    facts.run_client_id or "",
                    facts.invocation_id,
                    parent=facts.run_parent,
                    fork_of=facts.fork_of,
                    regenerates=facts.regenerates,
                    input_codec_message_id=facts.input_codec_message_id,
                )
            )

    async def suspend(self) -> None:
        """Publish that the run waits for an answer.

        Raises:
            ChannelRefusedError: The channel refused (104003).
        """
        self.telemetry.ending("suspended")
        await self._publish(names.RUN_SUSPEND, self._closing_headers(None, None))

    async def end(self, reason: RunEndReason, error: AITransportError | None = None) -> None:
        """Publish that the run ended.

        Args:
            reason: Why.
            error: The error to publish if the reason is ``error``.

        Raises:
            ChannelRefusedError: The channel refused (104003).
        """
        self.telemetry.ending(reason, error)
        await self._publish(names.RUN_END, self._closing_headers(reason, error), reason=reason)

    async def start_step(self, step_id: str, client_id: str) -> Attempt:
        """Publish that an attempt of a step starts.

        Args:
            step_id: The step.
            client_id: Client ID of the sender whose input shapes it.

        Returns:
            The attempt.

        Raises:
            ChannelRefusedError: The channel refused (104003).
            AITransportError: The channel returned no serial (50000).
        """
        self.telemetry.step_starting(step_id)
        attempt = Attempt(step_id, client_id)
        with self.hold.claiming(step=True):
            serials = await self._publish(names.STEP_START, self._step_headers(attempt), step=step_id)
            serial = serials[0] if serials else None
            if serial is None:
                raise AITransportError(
                    f"unable to start step; no serial returned for step '{step_id}'", ErrorCode.INTERNAL_ERROR
                )
            self.hold.note_claim(serial)
        facts = self.facts
        self._core.conversation.preview(
            StepStart(
                facts.run_id,
                step_id,
                facts.invocation_id,
                facts.run_client_id or "",
                facts.input_client_id or "",
                client_id,
                serial,
                announced=facts.announced,
            )
        )
        self.hold.check()
        return Attempt(step_id, client_id, serial)

    async def end_step(self, attempt: Attempt, reason: StepEndReason) -> None:
        """Publish that an attempt of a step ended.

        Args:
            attempt: The attempt.
            reason: Why.

        Raises:
            ChannelRefusedError: The channel refused (104003).
        """
        try:
            await self._publish(
                names.STEP_END, self._step_headers(attempt, reason), step=attempt.step_id, reason=reason
            )
        finally:
            self.telemetry.step_ended(reason)
        facts = self.facts
        self._core.conversation.preview(
            StepEnd(
                facts.run_id,
                attempt.step_id,
                facts.invocation_id,
                facts.run_client_id or "",
                facts.input_client_id or "",
                attempt.client_id,
                step_start_serial=attempt.start_serial,
                reason=reason,
            )
        )

    def open_encoder(self, attempt: Attempt, message_id: str, steers: list[str]) -> Encoder[InT, OutT]:
        """Open an encoder for one message of the reply.

        Args:
            attempt: The attempt that it belongs to.
            message_id: Its id in the conversation.
            steers: The steering messages that it responds to.

        Returns:
            The encoder.
        """
        facts = self.facts
        headers = build_transport_headers(
            role="assistant",
            run_id=facts.run_id,
            codec_message_id=message_id,
            run_client_id=facts.run_client_id or "",
            parent=facts.output_parent,
            fork_of=facts.fork_of,
            invocation_id=facts.invocation_id,
            input_client_id=facts.input_client_id,
            input_codec_message_id=facts.input_codec_message_id,
            regenerates=facts.regenerates,
            step_id=attempt.step_id,
            step_start_serial=attempt.start_serial,
            step_client_id=attempt.client_id,
        )
        if steers:
            headers[names.STEER_CODEC_MESSAGE_IDS] = dump_json(steers)
        options = EncoderOptions(
            headers=headers,
            on_message=self._on_message,
            message_id=message_id,
            append_window=self._limits.append_window,
            merge_appends=self._limits.merge_appends,
            append_interval=self._limits.append_interval,
            scheduler=asyncio.get_running_loop(),
            payloads=self._core.payloads,
        )
        encoder = self._core.codec.create_encoder(self.hold, options)
        self.telemetry.encoding(encoder)
        return encoder

    def _step_headers(self, attempt: Attempt, reason: StepEndReason | None = None) -> dict[str, str]:
        facts = self.facts
        return build_step_headers(
            run_id=facts.run_id,
            step_id=attempt.step_id,
            step_start_serial=attempt.start_serial or None,
            invocation_id=facts.invocation_id,
            run_client_id=facts.run_client_id or "",
            input_client_id=facts.input_client_id,
            step_client_id=attempt.client_id,
            reason=reason,
            announced=facts.announced and reason is None,
        )

    def _closing_headers(self, reason: RunEndReason | None, error: AITransportError | None) -> dict[str, str]:
        facts = self.facts
        return build_run_headers(
            run_id=facts.run_id,
            run_client_id=facts.run_client_id or "",
            reason=reason,
            invocation_id=facts.invocation_id,
            input_client_id=facts.input_client_id,
            input_codec_message_id=facts.input_codec_message_id,
            error_code=None if error is None else error.code,
            error_message=None if error is None else error.message,
        )

    async def _publish(
        self, name: str, headers: dict[str, str], message_id: str | None = None, **context: str
    ) -> list[str | None]:
        what = name.removeprefix("ai-")
        # One id, however often it is published: the channel takes it once.
        message = OutboundMessage(name, extras=ai_extras(headers), id=message_id or new_message_id())
        with self.telemetry.publishing(message):
            serials = await self._publish_held(what, message)
        extra = {"run": self.facts.run_id, "serial": serials[0] if serials else None, **context}
        self._log.info("%s published", what, extra=extra)
        return serials

    async def _publish_held(self, what: str, message: OutboundMessage) -> list[str | None]:
        """Publish as long as the run is held, again where the channel was away."""
        while True:
            losses = self.recovery.losses
            try:
                await self.recovery.ready()
                return await self.hold.publish([message])
            except AITransportError as error:
                self.hold.check_held(f"publish {what}")
                if not await self.recovery.comes_back(losses):
                    raise AITransportError.wrap(
                        f"publish {what} for run {self.facts.run_id}", error, ErrorCode.RUN_LIFECYCLE_ERROR
                    ) from error
