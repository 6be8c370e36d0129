"""Without the extra `local`, an import of the server says which extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Missing())
try:
    {statement}
except ImportError as error:
    print(error)
"""
SERVER = "from ably_ai_transport.local import LocalServer"
INSPECTOR = "from ably_ai_transport.inspector import Inspector"


@pytest.mark.parametrize(
    ("statement", "missing"),
    [(SERVER, ["starlette", "uvicorn", "jwt"]), (SERVER, ["msgpack"]), (INSPECTOR, ["starlette"])],
)
def test_an_import_without_the_extra_names_the_extra(statement: str, missing: list[str]) -> None:
    program = PROGRAM.replace("{statement}", statement)
    told = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program, *missing], capture_output=True, text=True, check=True
    ).stdout
    assert 'pip install "ably-ai-transport[local]"' in told
    assert any(package in told for package in missing)
