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
from ably_ai_transport.testing.memory.faults import MemoryFaults, MemoryOperation
from ably_ai_transport.testing.memory.hub import MemoryClient, MemoryHub

__all__ = ["MemoryChannel", "MemoryClient", "MemoryFaults", "MemoryHub", "MemoryOperation"]
