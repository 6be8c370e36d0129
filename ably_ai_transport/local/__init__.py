"""An embedded server that speaks Ably's protocol, for development and tests.

It carries the unmodified Ably SDKs of Python and JavaScript over JSON and msgpack. It keeps everything in
memory, or in one SQLite file when asked to, and is not made for production: that is Ably itself.
"""

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
    StorageError,
    StorageUnusableError,
)
from ably_ai_transport.local.storage.memory import MemoryStorage
from ably_ai_transport.local.web.server import LocalServer, serve

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
    "StorageError",
    "StorageUnusableError",
    "SystemClock",
    "Timer",
    "WireMessage",
    "WirePresence",
    "serve",
]
