"""The stores that come with the library."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore, S3Store

from ably_ai_transport import InvalidArgumentError
from ably_ai_transport.payloads import (
    DirectoryPayloads,
    ObjectStorePayloads,
    PayloadStore,
    payload_prefix,
)

CONTENT = bytes(range(256)) * 1000
KEY = payload_prefix("chat:42") + hashlib.sha256(CONTENT).hexdigest() + ".png"
BASE = "https://cdn.example/payloads"


def directory(path: Path) -> PayloadStore:
    return DirectoryPayloads(path / "payloads", base_url=BASE + "/")


def local_store(path: Path) -> PayloadStore:
    return ObjectStorePayloads(LocalStore(path), base_url=BASE + "/")


def memory_store(_: Path) -> PayloadStore:
    return ObjectStorePayloads(MemoryStore(), base_url=BASE)


@pytest.fixture(params=[directory, local_store, memory_store])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    make: Callable[[Path], PayloadStore] = request.param
    return make(tmp_path)


async def test_a_content_comes_back(store: PayloadStore) -> None:
    assert await store.put(KEY, CONTENT, "image/png") == f"{BASE}/{KEY}"
    assert await store.get(KEY) == CONTENT


async def test_a_content_may_be_put_twice(store: PayloadStore) -> None:
    first = await store.put(KEY, CONTENT, "image/png")
    assert await store.put(KEY, CONTENT, "image/png") == first
    assert await store.get(KEY) == CONTENT


async def test_a_key_that_is_not_there(store: PayloadStore) -> None:
    with pytest.raises(FileNotFoundError):
        await store.get(KEY)


async def test_a_directory_holds_one_file_for_each_content(tmp_path: Path) -> None:
    store = DirectoryPayloads(tmp_path)
    for _ in range(2):
        assert await store.put(KEY, CONTENT, "image/png") == (tmp_path / KEY).as_uri()
    prefix, name = KEY.split("/")
    assert os.listdir(tmp_path) == [prefix]  # noqa: PTH208
    assert os.listdir(tmp_path / prefix) == [name]  # noqa: PTH208


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "", "a/b", KEY + "/../../../secret", f"{KEY}\n"])
async def test_a_directory_gives_out_nothing_but_payloads(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("secret")
    store = DirectoryPayloads(tmp_path / "payloads")
    with pytest.raises(FileNotFoundError):
        await store.get(key)
    with pytest.raises(FileNotFoundError):
        await store.put(key, b"", "text/plain")


async def test_objects_have_their_media_type() -> None:
    bucket = MemoryStore()
    await ObjectStorePayloads(bucket, base_url=BASE).put(KEY, CONTENT, "image/png")
    assert bucket.get(KEY).attributes["Content-Type"] == "image/png"


def test_a_bucket_that_cannot_sign_needs_a_base_url() -> None:
    with pytest.raises(InvalidArgumentError, match="MemoryStore cannot sign URLs"):
        ObjectStorePayloads(MemoryStore())


def test_a_bucket_that_signs_needs_no_base_url() -> None:
    bucket = S3Store("payloads", region="eu-west-1", access_key_id="id", secret_access_key="secret")
    assert isinstance(ObjectStorePayloads(bucket, expires_in=timedelta(hours=1)), PayloadStore)


def test_without_obstore_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['obstore.store'] = None\n"
        "from ably_ai_transport.payloads import ObjectStorePayloads\n"
        "try: ObjectStorePayloads(None)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "ably-ai-transport[payloads]" in done.stdout


def test_the_prefix_of_a_session() -> None:
    assert payload_prefix("chat:42") == "55995e1856d884372e5ded3b46f2e11b/"
