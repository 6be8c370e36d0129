"""Processes that open a data file, store steps and close it, over and over, until they are killed.

Run as a program: the file, the number of kills and a seed. It prints how many steps were stored in the end
and how often a process was killed, as JSON, or fails when a step is missing or the file is refused.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path
from random import Random

from ably_ai_transport.local.protocol.messages import StoredMessage, Submission
from ably_ai_transport.local.protocol.serials import message_serial
from ably_ai_transport.local.storage.contract import LogEntry
from ably_ai_transport.local.storage.sqlite import SqliteContent

KEPT_MS = 100_000
STEP_MS = 2_000
ACKED = struct.Struct("=Q")


def entry(number: int) -> LogEntry:
    time_ms = 1_790_000_000_000 + number * STEP_MS
    serial = f"{time_ms:014d}-000@series"
    submission = Submission(0, None, None, None, None, f"{number};" * (number % 200), None, None)
    message = StoredMessage(
        submission,
        serial=message_serial(serial, 0),
        channel_serial=serial,
        id_=str(number),
        client_id=None,
        connection_id=None,
        timestamp=time_ms,
    )
    return LogEntry(serial, time_ms, None, None, (message,))


def count(data: Path) -> int:
    """Open the file, count its messages, check them, and close it."""
    storage = SqliteContent(data, kept_ms=KEPT_MS).app()
    storage.open()
    messages = storage.channel("c").messages()
    for number, message in enumerate(messages):
        assert message.id == str(number), "no message is missing"
        assert message.data == f"{number};" * (number % 200)
    storage.close()
    return len(messages)


def work(data: Path, acked: mmap.mmap, random: Random) -> None:
    """Store steps for ever; `acked` says how many are stored."""
    while True:
        storage = SqliteContent(data, kept_ms=KEPT_MS).app()
        storage.open()
        channel = storage.channel("c")
        for _ in range(random.randrange(5)):
            number = len(channel.messages())
            for more in range(random.randrange(1, 4)):
                channel.append(entry(number + more))
            storage.commit()
            acked[: ACKED.size] = ACKED.pack(len(channel.messages()))
        storage.close()


def main(data: Path, kills: int, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - moments, no secrets
    acked = mmap.mmap(-1, ACKED.size)
    for _ in range(kills):
        child = os.fork()
        if not child:
            try:
                work(data, acked, Random(random.random()))  # noqa: S311
            finally:
                os._exit(1)
        time.sleep(random.random() ** 2 * 0.15)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "a process failed before it was killed"
        if random.random() < 0.2:
            check(data, acked)
    check(data, acked)
    sys.stdout.write(json.dumps({"stored": count(data), "kills": kills}) + "\n")


def check(data: Path, acked: mmap.mmap) -> None:
    """Check in another process that everything is there; so its locks end with it."""
    child = os.fork()
    if not child:
        status = 1
        try:
            assert count(data) >= ACKED.unpack(acked[: ACKED.size])[0], "a step with an ack is missing"
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert not status


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
