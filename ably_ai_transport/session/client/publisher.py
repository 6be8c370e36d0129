"""Everything that a client puts on the channel: inputs of a turn, steering messages, cancel requests."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

import anyio

from ably_ai_transport.channel import ChannelState
from ably_ai_transport.codec.contract import (
    Decoded,
    EncoderOptions,
    InT,
    MsgT,
    OutT,
    ProjT,
    RoutedInput,
    WriteOptions,
)
from ably_ai_transport.conversation import Delivery
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.client.latches import RunLatches, RunProgress
from ably_ai_transport.session.connection import publish_error
from ably_ai_transport.wire import (
    AITransportError,
    ChannelRefusedError,
    ErrorCode,
    InvalidArgumentError,
    OutboundMessage,
    names,
)
from ably_ai_transport.wire.headers import build_cancel_headers, build_transport_headers
from ably_ai_transport.wire.messages import ai_extras


@dataclass(frozen=True, slots=True)
class SendOptions:
    """The routing of one send.

    Attributes:
        parent: The message before it; None lets the view choose its newest.
        fork_of: The message that it replaces.
        run_id: The run that it goes on with.
        role: The role of the sender.
        supersedes: The suspended run that it answers in a branch of its own.
    """

    parent: str | None = None
    fork_of: str | None = None
    run_id: str | None = None
    role: str = "user"
    supersedes: str | None = None


class InputWriter(Generic[InT, OutT, ProjT, MsgT]):
    """Publishes the inputs of one client session.

    Args:
        core: The session's parts.
        latches: Gets the runs that are requested.
    """

    def __init__(
        self, core: SessionCore[InT, OutT, ProjT, MsgT], latches: RunLatches[InT, OutT, ProjT, MsgT]
    ) -> None:
        self._core = core
        self._latches = latches
        options = EncoderOptions(on_message=core.telemetry.input_hook, payloads=core.payloads)
        self._encoder = core.codec.create_encoder(core.channel, options)
        self._sending = anyio.Lock()

    async def send(self, inputs: Sequence[InT], options: SendOptions, newest: str | None) -> RunProgress:
        """Publish the inputs of one turn; a new message is previewed in the conversation.

        Args:
            inputs: The inputs.
            options: Their routing.
            newest: The message to follow where none is named.

        Returns:
            The progress of the run that they ask for.

        Raises:
            AITransportError: As :meth:`ClientView.send`. Nothing is left behind then.
        """
        core = self._core
        await core.require("send")
        state = core.channel.state
        if state not in (ChannelState.ATTACHED, ChannelState.ATTACHING):
            raise ChannelRefusedError(f"unable to send; channel is {state}", ErrorCode.CHANNEL_NOT_READY, 400)
        routed = _check_inputs(inputs, options.role)
        parent = options.parent if options.parent is not None or options.fork_of else newest
        writes: list[tuple[InT, WriteOptions]] = []
        previewed: str | None = None
        message_id = event_id = ""
        for event, route in zip(inputs, routed, strict=True):
            event_id = str(uuid.uuid4())
            message_id = route.codec_message_id or str(uuid.uuid4())
            headers = build_transport_headers(
                role=options.role,
                codec_message_id=message_id,
                run_id=options.run_id,
                run_client_id=core.client_id,
                parent=route.parent if route.parent is not None else parent,
                fork_of=options.fork_of,
                regenerates=route.target if route.kind == "regenerate" else None,
                supersedes=options.supersedes,
                input_event_id=event_id,
            )
            writes.append((event, WriteOptions(headers, message_id)))
            if not _amends(route):
                previewed = message_id
                tree = core.conversation.tree
                core.conversation.publish(tree.apply_delivery(Delivery(Decoded(inputs=[event]), headers)))
        progress = RunProgress(message_id, event_id, options.run_id)
        self._latches.expect(progress)
        try:
            with core.telemetry.sending("send", codec_message_id=message_id, run_id=options.run_id):
                async with self._sending:
                    for event, write in writes:
                        await self._encoder.publish_input(event, write)
        except BaseException as error:  # a cancelled send is undone, too
            self._unsend(progress, previewed)
            if not isinstance(error, Exception):
                raise
            raise publish_error("publish events", error, ErrorCode.SESSION_SEND_FAILED) from error
        core.log.debug("input published", extra={"event": event_id, "inputs": len(writes)})
        return progress

    async def publish_steer(self, event: InT, run_id: str, message_id: str) -> None:
        """Publish a steering message.

        Args:
            event: The input.
            run_id: The run that it is for.
            message_id: Its id in the conversation.

        Raises:
            ChannelRefusedError: The channel refused (104005, or 40160 for lack of capability).
        """
        headers = build_transport_headers(
            role="user",
            run_id=run_id,
            codec_message_id=message_id,
            run_client_id=self._core.client_id,
            input_event_id=str(uuid.uuid4()),
        )
        try:
            with self._core.telemetry.sending("steer", codec_message_id=message_id, run_id=run_id):
                async with self._sending:
                    await self._encoder.publish_input(event, WriteOptions(headers, message_id))
        except AITransportError as error:
            raise publish_error("publish steer", error, ErrorCode.SESSION_SEND_FAILED) from error
        self._core.log.debug("steer published", extra={"run": run_id})

    async def cancel(self, *, run_id: str | None = None, input_codec_message_id: str | None = None) -> None:
        """Publish a cancel request.

        Args:
            run_id: The run.
            input_codec_message_id: The input that triggered the run.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused.
        """
        await self._core.require("cancel")
        headers = build_cancel_headers(
            event_id=str(uuid.uuid4()), run_id=run_id, input_codec_message_id=input_codec_message_id
        )
        message = OutboundMessage(names.CANCEL, extras=ai_extras(headers))
        try:
            with self._core.telemetry.sending("cancel", message=message, run_id=run_id):
                await self._core.channel.publish([message])
        except AITransportError as error:
            raise publish_error("cancel", error, ErrorCode.SESSION_SEND_FAILED) from error
        self._core.log.info("cancel published", extra={"run": run_id})

    async def close(self) -> None:
        """Flush, and refuse further inputs."""
        try:
            await self._encoder.close()
        except AITransportError:
            self._core.log.warning("The last inputs could not be flushed", exc_info=True)

    def _unsend(self, progress: RunProgress, previewed: str | None) -> None:
        """Undo a failed send; inputs that did reach the channel come back as echoes."""
        self._latches.withdraw(progress)
        if previewed is not None:
            conversation = self._core.conversation
            conversation.publish(conversation.tree.discard_optimistic(previewed))


def _amends(route: RoutedInput) -> bool:
    """Tell whether an input changes an existing message rather than adding one."""
    return route.kind != "user-message" and (route.kind == "regenerate" or route.codec_message_id is not None)


def _check_inputs(inputs: Sequence[object], role: str) -> list[RoutedInput]:
    routed: list[RoutedInput] = []
    for event in inputs:
        if not isinstance(event, RoutedInput):
            raise InvalidArgumentError(
                f"unable to send; {type(event).__name__} is not an input of the codec"
                " (build one with the codec's create_… methods)"
            )
        if event.kind == "user-message" and role != "user":
            raise InvalidArgumentError(
                f"unable to send; a user message cannot have the role {role!r} (leave role at 'user')"
            )
        routed.append(event)
    if not routed:
        raise InvalidArgumentError("unable to send; include at least one input")
    if sum(not _amends(route) for route in routed) > 1:
        raise InvalidArgumentError("unable to send; a send may introduce at most one new message")
    return routed
