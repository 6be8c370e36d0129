"""Early cancels: requests that arrive before the run that they are for."""

from ably_ai_transport.wire import InboundMessage, names

_LIMIT = 200


def cancel_target(message: InboundMessage) -> tuple[str | None, str | None]:
    """Read the target of a cancel request.

    Args:
        message: The request.

    Returns:
        The run id, and the id of the input that triggered the run; either may be missing.
    """
    headers = message.transport_headers
    return headers.get(names.RUN_ID), headers.get(names.INPUT_CODEC_MESSAGE_ID)


class EarlyCancels:
    """The latest cancel request of each client for each run and each input, up to a limit."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str | None], InboundMessage] = {}

    def on_message(self, message: InboundMessage) -> None:
        """Keep a message if it is a cancel request."""
        if message.name != names.CANCEL:
            return
        run_id, input_id = cancel_target(message)
        for kind, target in (("run", run_id), ("input", input_id)):
            if target is None:
                continue
            key = (kind, target, message.client_id)
            known = self._requests.pop(key, None)
            newest = message if known is None or (known.serial or "") <= (message.serial or "") else known
            self._requests[key] = newest
            if len(self._requests) > _LIMIT:
                del self._requests[next(iter(self._requests))]

    def find(self, run_id: str, input_codec_message_id: str | None) -> list[InboundMessage]:
        """Find the requests for a run.

        Args:
            run_id: The run.
            input_codec_message_id: Its input.

        Returns:
            The newest request of each client, newest first.
        """
        targets = (("run", run_id), ("input", input_codec_message_id or ""))
        found = [request for key, request in self._requests.items() if key[:2] in targets]
        return sorted(found, key=lambda request: request.serial or "", reverse=True)
