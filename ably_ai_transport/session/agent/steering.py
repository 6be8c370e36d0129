"""Steering on the agent's side: messages that a run has not responded to."""

from ably_ai_transport.conversation import OutputFolded


class SteerTracker:
    """Steering messages of one run: they arrive, the agent takes them in, and the next outputs say so.

    Before the run is open they are only noted, for every run: which run an invocation belongs to, and what
    was answered in it, may turn out later.
    """

    __slots__ = ("_answered", "_begun", "_pending", "_seen", "_taken")

    def __init__(self) -> None:
        self._pending: dict[str, None] = {}
        self._taken: dict[str, None] = {}
        self._begun = False
        self._seen: dict[str, dict[str, None]] = {}
        self._answered: dict[str, set[str]] = {}

    @property
    def has_pending(self) -> bool:
        """Whether there are messages that the agent has not taken in."""
        return bool(self._pending)

    def observe(self, event: OutputFolded[object, object], run_id: str) -> bool:
        """Note a folded event if it is a steering message or an answer to one.

        Args:
            event: The folded event.
            run_id: The run.

        Returns:
            Whether it is a message that the agent should know of now.
        """
        if event.run_id is None:
            return False
        if not self._begun:
            self._answered.setdefault(event.run_id, set()).update(event.steer_codec_message_ids or ())
        if not event.inputs or event.codec_message_id is None:
            return False
        if not self._begun:
            self._seen.setdefault(event.run_id, {})[event.codec_message_id] = None
            return False
        if event.run_id != run_id:
            return False
        self._pending[event.codec_message_id] = None
        return True

    def begin(self, run_id: str, trigger: str | None) -> bool:
        """Take up the messages that came before the run was open and are not answered yet.

        Args:
            run_id: The run.
            trigger: The input that triggered the invocation, which is no steering message.

        Returns:
            Whether there are any.
        """
        self._begun = True
        answered = self._answered.get(run_id, set())
        for message_id in self._seen.get(run_id, ()):
            if message_id != trigger and message_id not in answered:
                self._pending[message_id] = None
        self._seen.clear()
        self._answered.clear()
        return bool(self._pending)

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
