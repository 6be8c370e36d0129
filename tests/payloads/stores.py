"""Payload stores that tests look into, slow down and break."""

import anyio


class MemoryPayloads:
    """Keeps payloads in a dictionary.

    Attributes:
        objects: Content and media type by key.
        puts: The keys of all puts.
        gets: The keys of all gets.
        failure: Raised by each operation, if it is set.
        gate: Awaited by each get, if it is set.
    """

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.puts: list[str] = []
        self.gets: list[str] = []
        self.failure: Exception | None = None
        self.gate: anyio.Event | None = None

    async def put(self, key: str, content: bytes, media_type: str) -> str:
        self.puts.append(key)
        if self.failure is not None:
            raise self.failure
        self.objects[key] = (content, media_type)
        return f"https://payloads.example/{key}"

    async def get(self, key: str) -> bytes:
        self.gets.append(key)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if key not in self.objects:
            raise FileNotFoundError(key)
        return self.objects[key][0]
