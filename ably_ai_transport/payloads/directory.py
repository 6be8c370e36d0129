"""A payload store in a directory, for one machine or a shared file system."""

import secrets
from pathlib import Path

import anyio

from ably_ai_transport.payloads.contract import is_key


class DirectoryPayloads:
    """Keeps payloads as files.

    Args:
        directory: The directory; created when the first payload is put.
        base_url: The URL under which a web server offers the directory. Without it clients see ``file:``
            URLs, which work on this machine only.

    Example:
        >>> session = ClientSession(  # doctest: +SKIP
        ...     ably, "chat:42", codec=codec, payloads=DirectoryPayloads("/srv/payloads")
        ... )
    """

    def __init__(self, directory: str | Path, *, base_url: str | None = None) -> None:
        self._directory = Path(directory).absolute()
        self._base_url = base_url

    def __repr__(self) -> str:
        return f"<DirectoryPayloads {str(self._directory)!r}>"

    async def put(self, key: str, content: bytes, media_type: str) -> str:
        """Write a file, unless it is there, and return its URL."""
        path = self._path(key)
        await anyio.to_thread.run_sync(_write, path, content)
        return path.as_uri() if self._base_url is None else f"{self._base_url.rstrip('/')}/{key}"

    async def get(self, key: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return await anyio.to_thread.run_sync(self._path(key).read_bytes)

    def _path(self, key: str) -> Path:
        # A web application may pass on a key from a URL.
        if not is_key(key):
            raise FileNotFoundError(f"not the key of a payload: {key!r}")
        return self._directory / key


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
