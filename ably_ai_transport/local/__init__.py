"""An embedded server that speaks Ably's protocol, for development and tests.

The unmodified Ably SDKs of Python and JavaScript connect to it, over JSON and msgpack. It keeps everything in
memory, or in one SQLite file. It is not made for production: that is Ably itself. It needs the extra `local`:
`pip install "ably-ai-transport[local]"`.
"""

try:
    from ably_ai_transport.local.clock import Clock, SystemClock, Timer
    from ably_ai_transport.local.core.faults import Faults
    from ably_ai_transport.local.core.transport import Direction, FrameObserver
    from ably_ai_transport.local.options import Limits, LocalServerOptions, Namespace
    from ably_ai_transport.local.protocol.frames import Frame, WireMessage, WirePresence
    from ably_ai_transport.local.stats import Stats
    from ably_ai_transport.local.storage.contract import (
        ChannelStorage,
        ConnectionRecord,
        LogEntry,
        PresenceRecord,
        Storage,
        StorageDamagedError,
        StorageError,
        StorageUnusableError,
    )
    from ably_ai_transport.local.storage.memory import MemoryStorage
    from ably_ai_transport.local.web.server import LocalServer, serve
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"jwt", "msgpack", "starlette", "uvicorn", "websockets"}:
        raise
    raise ModuleNotFoundError(
        f'unable to import the local server; no {error.name} (pip install "ably-ai-transport[local]")',
        name=error.name,
    ) from error

__all__ = [
    "ChannelStorage",
    "Clock",
    "ConnectionRecord",
    "Direction",
    "Faults",
    "Frame",
    "FrameObserver",
    "Limits",
    "LocalServer",
    "LocalServerOptions",
    "LogEntry",
    "MemoryStorage",
    "Namespace",
    "PresenceRecord",
    "Stats",
    "Storage",
    "StorageDamagedError",
    "StorageError",
    "StorageUnusableError",
    "SystemClock",
    "Timer",
    "WireMessage",
    "WirePresence",
    "serve",
]
