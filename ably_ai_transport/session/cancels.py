"""Cancel requests that come before the run that they are for."""

from ably_ai_transport.wire import InboundMessage, names

_LIMIT = 200


def cancel_target(message: InboundMessage) -> tuple[str | None, str | None]:
    """Read what a cancel request is for.

    Args:
        message: The request.

    Returns:
        The run, and the input whose run is meant; either may be missing.
    """
    headers = message.transport_headers
    return headers.get(names.RUN_ID), headers.get(names.INPUT_CODEC_MESSAGE_ID)


class EarlyCancels:
    """The latest requests for runs that are not known yet, up to a limit."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], InboundMessage] = {}

    def add(self, run_id: str | None, input_codec_message_id: str | None, message: InboundMessage) -> None:
        """Keep a request.

        Args:
            run_id: The run that it is for.
            input_codec_message_id: The input whose run it is for.
            message: The request.
        """
        for key in (("run", run_id), ("input", input_codec_message_id)):
            kind, target = key
            if target is None:
                continue
            known = self._requests.pop((kind, target), None)
            newest = message if known is None or (known.serial or "") <= (message.serial or "") else known
            self._requests[kind, target] = newest
            if len(self._requests) > _LIMIT:
                del self._requests[next(iter(self._requests))]

    def take(
        self, run_id: str, input_codec_message_id: str | None, trigger: InboundMessage
    ) -> InboundMessage | None:
        """Take the request for a run.

        Args:
            run_id: The run.
            input_codec_message_id: Its input.
            trigger: The message of the input. What was asked for before it, was asked of an earlier
                invocation.

        Returns:
            The request; None when there is none.
        """
        found = [
            self._requests.pop(key, None)
            for key in (("run", run_id), ("input", input_codec_message_id or ""))
        ]
        for request in found:
            if request is not None and (request.serial or "") > (trigger.serial or ""):
                return request
        return None
