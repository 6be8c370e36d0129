"""Text of streams: what may be written, and how it is cut into appends."""

from ably_ai_transport.wire import AITransportError, ErrorCode


def check_text(text: object, action: str) -> str:
    """Return text that a stream can carry.

    Args:
        text: What the caller wants to write; None stands for no text.
        action: What it is for, in an error's words.

    Raises:
        AITransportError: It is not text, or holds half of a surrogate pair (40003).
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise AITransportError(
            f"unable to {action}; text is {type(text).__name__}, not str", ErrorCode.INVALID_ARGUMENT
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise AITransportError(
                f"unable to {action}; text has a lone surrogate at {error.start}",
                ErrorCode.INVALID_ARGUMENT,
                cause=error,
            ) from error
    return text


def utf8_size(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def split_text(text: str, limit: int) -> list[str]:
    """Cut a text into pieces of at most ``limit`` bytes of UTF-8, never inside a character.

    Args:
        text: Any text that :func:`check_text` accepts.
        limit: At least 4, the longest character there is.

    Returns:
        The pieces, whose concatenation is the text; one piece, even an empty one, where it fits.
    """
    if len(text) * 4 <= limit:
        return [text]
    data = text.encode()
    pieces: list[str] = []
    start = 0
    while len(data) - start > limit:
        end = start + limit
        while data[end] & 0xC0 == 0x80:  # a continuation byte: the character began before the cut
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    pieces.append(data[start:].decode())
    return pieces
