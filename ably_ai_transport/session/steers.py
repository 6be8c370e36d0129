"""Which steering messages a run still has to respond to."""


class SteerTracker:
    """Steering messages of one run: they arrive, the agent takes them in, and the next outputs say so."""

    __slots__ = ("_pending", "_taken")

    def __init__(self) -> None:
        self._pending: dict[str, None] = {}
        self._taken: dict[str, None] = {}

    @property
    def has_pending(self) -> bool:
        """Whether there are messages that the agent has not taken in."""
        return bool(self._pending)

    def add(self, codec_message_id: str) -> None:
        """Note a message that arrived."""
        self._pending[codec_message_id] = None

    def take(self) -> None:
        """Note that the agent has taken in all that arrived."""
        self._taken.update(self._pending)
        self._pending.clear()

    def take_stamp(self) -> list[str]:
        """Return the messages that the next outputs respond to, once."""
        stamp = list(self._taken)
        self._taken.clear()
        return stamp

    def is_unanswered(self, codec_message_id: str) -> bool:
        """Tell whether no output has responded to a message yet."""
        return codec_message_id in self._pending or codec_message_id in self._taken
