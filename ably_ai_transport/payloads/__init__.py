"""Payload stores: a place outside of the channel for values that are larger than a message.

A session that is opened with ``payloads=`` moves such values to the store and publishes references. Sessions
with the same store show the original values.
"""

from ably_ai_transport.payloads.contract import PayloadStore, payload_prefix
from ably_ai_transport.payloads.directory import DirectoryPayloads
from ably_ai_transport.payloads.object_store import ObjectStorePayloads

__all__ = ["DirectoryPayloads", "ObjectStorePayloads", "PayloadStore", "payload_prefix"]
