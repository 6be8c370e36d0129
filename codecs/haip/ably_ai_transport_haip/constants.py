"""Numbers that clients start from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ably_ai_transport_haip.protocol.credits import DEFAULT_CREDIT_BYTES, DEFAULT_CREDITS
from ably_ai_transport_haip.protocol.names import PROTOCOL_VERSION


class HaipConstants:
    """The protocol's version and the defaults of clients. Times are milliseconds, as the protocol counts."""

    PROTOCOL_VERSION: Final = PROTOCOL_VERSION
    DEFAULT_CREDITS: Final = DEFAULT_CREDITS
    DEFAULT_CREDIT_BYTES: Final = DEFAULT_CREDIT_BYTES
    DEFAULT_HEARTBEAT_INTERVAL_MS: Final = 30_000
    DEFAULT_RECONNECT_DELAY_MS: Final = 1_000
    DEFAULT_MAX_RECONNECT_ATTEMPTS: Final = 5
    DEFAULT_MAX_CONCURRENT_RUNS: Final = 5
    WEBSOCKET_READY_STATE: Final[Mapping[str, int]] = MappingProxyType(
        {"CONNECTING": 0, "OPEN": 1, "CLOSING": 2, "CLOSED": 3}
    )
