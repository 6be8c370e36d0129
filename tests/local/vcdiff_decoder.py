"""A decoder of VCDIFF (RFC 3284) for deltas without runs and without address caches."""

from __future__ import annotations

from ably.types.options import VCDiffDecoder

VCD_SOURCE = 1


class Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    @property
    def is_done(self) -> bool:
        return self.position == len(self.content)

    def take(self, size: int) -> bytes:
        taken = self.content[self.position : self.position + size]
        assert len(taken) == size, "the delta is cut short"
        self.position += size
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        value = 0
        while (digit := self.byte()) & 0x80:
            value = value << 7 | digit & 0x7F
        return value << 7 | digit


def decode(delta: bytes, source: bytes) -> bytes:
    reader = Reader(delta)
    assert reader.take(5) == b"\xd6\xc3\xc4\x00\x00"
    target = b""
    while not reader.is_done:
        target += _window(reader, source)
    return target


def _window(reader: Reader, source: bytes) -> bytes:
    assert reader.byte() == VCD_SOURCE
    size, position = reader.integer(), reader.integer()
    assert position + size <= len(source)
    segment = source[position : position + size]
    body = Reader(reader.take(reader.integer()))
    length = body.integer()
    assert body.byte() == 0, "no section is compressed"
    sizes = [body.integer() for _ in range(3)]
    data, instructions, addresses = (Reader(body.take(size)) for size in sizes)
    assert body.is_done
    target = b""
    while not instructions.is_done:
        code = instructions.byte()
        if 1 <= code <= 18:
            target += data.take(code - 1 or instructions.integer())
        elif 19 <= code <= 34:
            size = code - 16 if code > 19 else instructions.integer()
            address = addresses.integer()
            assert address + size <= len(segment), "only the source is copied"
            target += segment[address : address + size]
        else:
            raise AssertionError(f"instruction {code} is not expected")
    assert data.is_done
    assert addresses.is_done
    assert len(target) == length
    return target


class Decoder(VCDiffDecoder):
    """For the Python SDK; counts the deltas."""

    def __init__(self) -> None:
        self.decoded = 0

    def decode(self, delta: bytes, base: bytes) -> bytes:
        self.decoded += 1
        return decode(delta, base)
