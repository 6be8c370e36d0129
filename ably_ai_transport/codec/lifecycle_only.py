"""A codec without a vocabulary, for programs that follow the lives of runs and read no messages."""

from collections.abc import Sequence
from typing import NoReturn

from ably_ai_transport.codec.contract import (
    ChannelWriter,
    Codec,
    CodecMessage,
    Decoded,
    Decoder,
    Encoder,
    EncoderOptions,
    FoldMeta,
    InputEvent,
    OutputEvent,
    WriteOptions,
)
from ably_ai_transport.wire import InboundMessage, InvalidArgumentError


class LifecycleOnlyCodec(Codec[object, object, None, object]):
    """Reads a conversation in any vocabulary: its runs and steps, and none of its messages.

    Example:
        >>> session = ClientSession(ably, "chat:42", codec=LifecycleOnlyCodec())  # doctest: +SKIP
    """

    def create_encoder(
        self, writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> Encoder[object, object]:
        """Create an encoder that refuses whatever it is given."""
        return _Encoder()

    def create_decoder(self) -> Decoder[object, object]:
        """Create a decoder that reads nothing."""
        return _Decoder()

    def init(self) -> None:
        """Return an empty projection; there is no other."""

    def fold(self, projection: None, event: InputEvent[object] | OutputEvent[object], meta: FoldMeta) -> None:
        """Fold nothing."""

    def get_messages(self, projection: None) -> Sequence[CodecMessage[object]]:
        """Return no messages."""
        return ()

    def create_user_message(self, message: object) -> NoReturn:
        """Refuse.

        Raises:
            InvalidArgumentError: Always (40003).
        """
        raise _no_messages()

    def create_regenerate(self, target: str, parent: str) -> NoReturn:
        """Refuse.

        Raises:
            InvalidArgumentError: Always (40003).
        """
        raise _no_messages()


class _Encoder(Encoder[object, object]):
    async def publish_input(self, event: object, options: WriteOptions | None = None) -> None:
        raise _no_messages()

    async def publish_output(self, event: object, options: WriteOptions | None = None) -> None:
        raise _no_messages()

    async def cancel_streams(self) -> None:
        pass

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Decoder(Decoder[object, object]):
    def decode(self, message: InboundMessage) -> Decoded[object, object]:
        return Decoded()


def _no_messages() -> InvalidArgumentError:
    return InvalidArgumentError(
        "unable to write a message; LifecycleOnlyCodec has none (use the codec of the conversation)"
    )
