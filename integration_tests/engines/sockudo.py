"""Sockudo: a server of another project that speaks Ably's protocol, as one node with everything in memory.

Its program is found by ``SOCKUDO_BIN`` or on the path. It must be built with the features ``v2``,
``ai-transport`` and ``ably-compat``.
"""

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Final, Self

from integration_tests.engines.ports import free_port

KEY: Final = "app.key:sockudo-test-secret"
_START_SECONDS: Final = 30.0

_CONFIG: Final = """
host = "127.0.0.1"
port = {port}
mode = "development"
websocket_max_payload_kb = 512

[adapter]
driver = "local"

[app_manager]
driver = "memory"

[[app_manager.array.apps]]
id = "app"
key = "{key_name}"
secret = "{secret}"
enabled = true

[app_manager.array.apps.policy.limits]
max_connections = 10000
max_client_events_per_second = 100000

[app_manager.array.apps.policy.features]
enable_client_messages = true
enable_user_authentication = true

[app_manager.array.apps.policy.channels]
allowed_origins = ["*"]

[[app_manager.array.apps.policy.channels.channel_namespaces]]
name = "test"
channel_name_pattern = "^test:.+$"
max_channel_name_length = 200
annotations_enabled = true

[app_manager.array.apps.policy.idempotency]
enabled = true
ttl_seconds = 300

[app_manager.array.apps.policy.connection_recovery]
enabled = true

[ably_compat]
enabled = true

[[ably_compat.keys]]
app_id = "app"
key_name = "{key_name}"
secret = "{secret}"
enabled = true

[cache]
driver = "memory"

[queue]
driver = "memory"

[push]
allow_memory_drivers = true

[rate_limiter]
enabled = false

[metrics]
enabled = false

[history]
enabled = true
backend = "memory"

[versioned_messages]
enabled = true
driver = "memory"

[connection_recovery]
enabled = true
buffer_ttl_seconds = 120
max_buffer_size = 1000

[ai_transport]
enabled = true

[[ai_transport.channels]]
prefix = "test:"
"""


class EngineProblemError(Exception):
    """An engine that was asked for is not there, or did not start."""


def find_sockudo() -> str:
    """Return the path of the program.

    Raises:
        EngineProblemError: There is none.
    """
    found = os.environ.get("SOCKUDO_BIN") or shutil.which("sockudo")
    if found is None:
        raise EngineProblemError("Sockudo is not here: put sockudo on the path, or set SOCKUDO_BIN")
    return found


class Sockudo:
    """One node, for as long as its block lasts.

    Attributes:
        url: Its address.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        name, _, secret = KEY.partition(":")
        config = self._directory / "sockudo.toml"
        config.write_text(_CONFIG.format(port=self._port, key_name=name, secret=secret))
        log = self._directory / "sockudo.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [find_sockudo(), "--config", str(config)],
                cwd=self._directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready(log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/time", timeout=1):  # noqa: S310 - our own address
                    return
            except OSError:
                time.sleep(0.05)
        said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise EngineProblemError(f"Sockudo did not start within {_START_SECONDS:.0f} s:\n{said}")
