"""Tests that pytest finds the plugin, and that loading it stays cheap."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

TEST_SERVER = "async def test_server(ably_server): ...\n"
TEST_MEMORY = "def test_memory(memory_hub):\n    assert memory_hub.messages('c') == []\n"
WITHOUT = """
import sys
import pytest

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, NotInstalled())
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run_pytest(
    folder: Path, *arguments: str, missing: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WITHOUT.format(missing=missing), *arguments],
        check=False,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_the_plugin_needs_no_line_in_a_conftest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_MEMORY, encoding="utf-8")
    assert "1 passed" in run_pytest(tmp_path)


def test_a_conftest_may_still_name_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ably_ai_transport.testing.plugin"]\n')
    (tmp_path / "test_it.py").write_text(TEST_MEMORY, encoding="utf-8")
    assert "1 passed" in run_pytest(tmp_path)


def test_a_run_that_does_not_use_it_does_not_import_the_library(tmp_path: Path) -> None:
    test = """
    import sys

    def test_memory_comes_when_it_is_used(request):
        assert request.config.pluginmanager.has_plugin("ably_ai_transport.testing.plugin")
        assert "ably_ai_transport" not in sys.modules
        request.getfixturevalue("memory_hub")
        assert "ably_ai_transport" in sys.modules
    """
    (tmp_path / "test_it.py").write_text(dedent(test), encoding="utf-8")
    assert "1 passed" in run_pytest(tmp_path)


def test_loading_it_imports_nothing_heavy() -> None:
    heavy = ("ably", "pydantic", "starlette", "uvicorn", "websockets", "httpx", "jwt", "msgpack")
    code = f"import sys, ably_ai_transport.testing.plugin\nprint([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_without_the_extra_the_server_says_which_one_it_needs(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_SERVER + TEST_MEMORY, encoding="utf-8")
    output = run_pytest(tmp_path, "-o", "asyncio_mode=auto", missing=("starlette", "uvicorn"))
    assert "1 passed, 1 error" in output
    assert 'pip install "ably-ai-transport[testing]"' in output


def test_without_pytest_asyncio_the_rest_works(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_SERVER.replace("async ", "") + TEST_MEMORY, encoding="utf-8")
    output = run_pytest(
        tmp_path,
        "-p",
        "ably_ai_transport.testing.plugin",
        missing=("pytest_asyncio",),
        environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "1 passed, 1 error" in output
    assert 'needs pytest-asyncio: pip install "ably-ai-transport[testing]"' in output
