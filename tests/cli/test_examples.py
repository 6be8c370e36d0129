import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cli.command import environment
from tests.cli.test_serve import python_options, serving

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def agent_running(env: dict[str, str]) -> Generator[str]:
    """Run the example of an agent; yield the address of its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error", str(EXAMPLES / "agent.py")]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=environment({**env, "PORT": str(port)}), stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stderr is not None
            while "running on" not in (line := process.stderr.readline()):
                assert line
            yield f"http://127.0.0.1:{port}/api/chat"
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=10)[1]
            assert "Finished server process" in rest
            assert "Traceback" not in rest
        finally:
            process.kill()


def ask(question: str, env: dict[str, str]) -> str:
    """Run the example of a client to its end."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "error", str(EXAMPLES / "client.py"), question],
        env=environment(env),
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=30,
    ).stdout


def test_the_agent_and_the_client_talk_to_each_other() -> None:
    with serving("--port", "0", "--key", "dev.key:secret") as (_, shown):
        env = {"ABLY_KEY": "dev.key:secret", "ABLY_ENDPOINT": str(python_options(shown)["endpoint"])}
        with agent_running(env) as url:
            env["AGENT_URL"] = url
            first, second = ask("Hello", env), ask("Hello again", env)
    assert first == "There are 1 messages, and the last one says: Hello \n(complete)\n"
    assert second == "There are 3 messages, and the last one says: Hello again \n(complete)\n"


def test_a_haip_client_and_a_browser_in_one_conversation() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error", str(EXAMPLES / "haip_and_browser" / "main.py"), str(port)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            while "Type here" not in (line := process.stdout.readline()):
                assert line
            page = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
            assert "One conversation" in page.text
            config = httpx.get(f"http://127.0.0.1:{port}/config", trust_env=False).json()
            assert config["channel"] == "haip:example"
            process.stdin.write("Hello\n")
            process.stdin.flush()
            while not (line := process.stdout.readline()).startswith("agent: "):
                assert line
            assert line.strip() == "agent: That is message 1 of ours, and you said: Hello"
            process.stdin.close()
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
