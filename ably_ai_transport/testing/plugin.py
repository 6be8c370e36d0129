"""The pytest plugin: a local Ably server, clients on it, its fault switch, and channels in memory.

pytest finds it by its entry point; there is nothing to switch on. The asynchronous fixtures need
``pytest-asyncio``, and the server what the extra brings: ``pip install "ably-ai-transport[testing]"``.
"""

from _ably_ai_transport_pytest import (
    AblyClientFactory,
    ably_client,
    ably_faults,
    ably_server,
    memory_hub,
)

__all__ = ["AblyClientFactory", "ably_client", "ably_faults", "ably_server", "memory_hub"]
