"""A payload store in a bucket: S3, Google Cloud Storage, Azure Blob Storage."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from ably_ai_transport.wire import InvalidArgumentError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_EXPIRES_IN: Final = timedelta(days=7)


class ObjectStorePayloads:
    """Keeps payloads in a bucket. Needs the extra ``payloads``.

    Args:
        store: The bucket, as a store of the ``obstore`` package.
        base_url: The URL under which clients can read the bucket: a content delivery network, or a route of
            your application that checks who asks. Without it clients see signed URLs, which expire. Sessions
            with this store read by key, and never expire.
        expires_in: How long a signed URL is valid; 7 days by default, which is the maximum on S3.

    Raises:
        InvalidArgumentError: The package is not installed, or there is no base URL and the store cannot sign
            URLs (40003).

    Example:
        >>> from obstore.store import S3Store  # doctest: +SKIP
        >>> payloads = ObjectStorePayloads(S3Store("my-payloads", region="eu-west-1"))  # doctest: +SKIP
    """

    def __init__(
        self, store: "ObjectStore", *, base_url: str | None = None, expires_in: timedelta = _EXPIRES_IN
    ) -> None:
        try:
            from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
        except ImportError as error:
            raise InvalidArgumentError(
                "unable to keep payloads; obstore is not installed"
                ' (pip install "ably-ai-transport[payloads]")',
                cause=error,
            ) from error
        self._store = store
        self._base_url = base_url
        self._expires_in = expires_in
        self._signing = store if isinstance(store, AzureStore | GCSStore | S3Store) else None
        self._keeps_types = not isinstance(store, LocalStore)
        if base_url is None and self._signing is None:
            raise InvalidArgumentError(
                f"unable to keep payloads; {type(store).__name__} cannot sign URLs (give base_url=)"
            )

    def __repr__(self) -> str:
        return f"<ObjectStorePayloads {self._store!r}>"

    async def put(self, key: str, content: bytes, media_type: str) -> str:
        """Put an object and return its URL."""
        import obstore

        attributes = {"Content-Type": media_type} if self._keeps_types else None
        await obstore.put_async(self._store, key, content, attributes=attributes)
        if self._base_url is None and self._signing is not None:
            return await obstore.sign_async(self._signing, "GET", key, self._expires_in)
        return f"{(self._base_url or '').rstrip('/')}/{key}"

    async def get(self, key: str) -> bytes:
        """Get an object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        import obstore

        result = await obstore.get_async(self._store, key)
        return bytes(await result.bytes_async())
