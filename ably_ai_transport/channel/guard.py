"""What the Ably SDK for Python 3.1.4 does to messages when the network is not kind, and how it is undone.

Each guard below names the fault that it stands against. They rely on undocumented attributes of the SDK
(see ``sdk.py``); each goes away when the SDK is mended.
"""

import asyncio
import logging
from collections import deque
from functools import partial

from ably_ai_transport.channel.sdk import Frame, Pending, Realtime, StateChange, Transport

logger = logging.getLogger("ably_ai_transport.channel")


class ConnectionGuard:
    """Keeps the messages of one client whole, in order, and answered.

    Args:
        client: The client. The guard listens from now on; :meth:`close` ends that.
    """

    def __init__(self, client: Realtime) -> None:
        manager = client.connection.connection_manager
        self._client = client
        self._manager = manager
        self._connection_id: str | None = manager.connection_id
        self._transport = manager.transport
        self._check_connection = manager.check_connection
        # The SDK asks a web page whether there is a network, and stops the event loop for it. Trying the
        # next host answers the question as well.
        manager.check_connection = _there_is_a_network
        manager.on("connectionstate", self._on_state)
        manager.on("update", self._on_update)
        manager.on("transport.pending", self._on_transport)
        if manager.transport is not None:
            self._on_transport(manager.transport)

    def close(self) -> None:
        """Stop listening."""
        manager = self._manager
        manager.off("connectionstate", self._on_state)
        manager.off("update", self._on_update)
        manager.off("transport.pending", self._on_transport)
        manager.check_connection = self._check_connection

    def find(self, frame: Frame) -> Pending | None:
        """Find a message that waits for its answer, or to be sent again.

        Args:
            frame: The very frame that was handed to the SDK.

        Returns:
            The message; None when the SDK has let go of it.
        """
        for pending in (*self._manager.pending_message_queue.messages, *self._manager.queued_messages):
            if pending.message is frame:
                return pending
        return None

    def _on_state(self, change: StateChange) -> None:
        """Runs before the SDK sends what is queued."""
        match change.current:
            case "disconnected":
                # After DISCONNECTED from the server the SDK forgets to send unanswered messages again, and
                # hands their callers the answers to later ones.
                self._manager.requeue_pending_messages()
                self._tidy()
            case "connected":
                self._tidy()
                self._adopt_connection()
            case "failed":
                # After an ERROR from the server the SDK leaves whoever waits for an answer waiting.
                self._manager.fail_queued_messages(change.reason)
            case _:
                pass

    def _on_update(self, _change: StateChange) -> None:
        """The SDK may change to a fallback host and call itself connected all the while."""
        if self._manager.transport is self._transport:
            return
        self._manager.requeue_pending_messages()
        self._tidy()
        self._adopt_connection()
        self._manager.send_queued_messages()

    def _adopt_connection(self) -> None:
        """Number unanswered messages anew on a new connection: the server counts from 0 there."""
        manager = self._manager
        if self._connection_id is not None and manager.connection_id != self._connection_id:
            manager.msg_serial = 0
            for pending in reversed(manager.queued_messages):
                if pending.ack_required:
                    pending.message["msgSerial"] = manager.msg_serial
                    manager.msg_serial += 1
        self._connection_id, self._transport = manager.connection_id, manager.transport

    def _tidy(self) -> None:
        """Queue each message once, in the order in which it was published.

        What is published while disconnected is put in two queues by the SDK, and sent twice after a failed
        attempt to reconnect; with the queues out of order, answers go to the wrong messages or to none.
        The right end of the queue is sent first.
        """
        manager = self._manager
        manager.pending_message_queue.clear()
        waiting = list({id(pending): pending for pending in reversed(manager.queued_messages)}.values())
        numbered = iter(sorted((p for p in waiting if p.ack_required), key=_serial_of))
        in_order = [next(numbered) if pending.ack_required else pending for pending in waiting]
        manager.queued_messages = deque(reversed(in_order))

    def _on_transport(self, transport: Transport) -> None:
        # The task is made by the call that follows the event.
        asyncio.get_running_loop().call_soon(self._watch, transport)

    def _watch(self, transport: Transport) -> None:
        task = transport.ws_connect_task
        if task is not None:
            task.add_done_callback(partial(self._on_socket_gone, transport))

    def _on_socket_gone(self, transport: Transport, task: asyncio.Task[None]) -> None:
        manager = self._manager
        if manager.transport is not transport:
            return
        error = None if task.cancelled() else task.exception()
        if manager.state == "connecting" and isinstance(error, OSError):
            # A refused connection goes unnoticed until a timer of 10 s has run out.
            transport._emit("failed", _connection_refused(error))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        elif (
            manager.state == "connected"
            and transport.is_disposed
            and not self._client.options.get_fallback_hosts()
        ):
            # After DISCONNECTED with a 5xx status and without fallback hosts the SDK stays connected to a
            # closed socket for ever.
            logger.info("The Ably SDK holds on to a closed socket; reconnecting")
            manager.deactivate_transport()


def _serial_of(pending: Pending) -> int:
    serial: object = pending.message.get("msgSerial")
    return serial if isinstance(serial, int) else 0


def _there_is_a_network() -> bool:
    return True


def _connection_refused(error: OSError) -> Exception:
    from ably import AblyException

    return AblyException(f"Error opening websocket connection: {error}", 400, 80003)
