"""Channels in memory, with Ably's semantics: for tests that need neither network nor server.

```python
hub = MemoryHub()
agent = hub.client("agent").open_channel("conversations:1")
client = hub.client("alice").open_channel("conversations:1")
await client.attach()
await agent.publish([OutboundMessage(name="greeting", data="hello")])
await hub.settle()
```

Nothing here looks at a clock or draws a random number: the same calls give the same serials.
"""

from ably_ai_transport.testing.memory.channel import MemoryChannel
from ably_ai_transport.testing.memory.faults import MemoryFaults
from ably_ai_transport.testing.memory.hub import MemoryClient, MemoryHub
from ably_ai_transport.testing.memory.plan import FaultAction
from ably_ai_transport.testing.memory.presence import MemoryPresence

__all__ = ["FaultAction", "MemoryChannel", "MemoryClient", "MemoryFaults", "MemoryHub", "MemoryPresence"]
