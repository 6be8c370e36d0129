import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.cli.command import environment
from tests.cli.test_serve import python_options, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
KEY = "dev.key:secret"


class Agent:
    """The example of an agent, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}/api/chat"
        self.log = ""

    def wait_until_ready(self) -> None:
        assert self._process.stderr is not None
        while "running on" not in (line := self._process.stderr.readline()):
            assert line, self.log
            self.log += line

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Send a signal; return after how many seconds the process had ended."""
        begin = time.monotonic()
        self._process.send_signal(number)
        self.log += self._process.communicate(timeout=10)[1]
        assert "Finished server process" in self.log
        return time.monotonic() - begin


@contextmanager
def agent_running(env: dict[str, str]) -> Generator[Agent]:
    """Run the example of an agent until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error", str(EXAMPLES / "agent.py")]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=environment({**env, "PORT": str(port)}), stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            agent = Agent(process, port)
            agent.wait_until_ready()
            yield agent
        finally:
            process.kill()


@contextmanager
def environment_of_a_server() -> Generator[dict[str, str]]:
    """Run a local server; yield the variables that lead the examples to it."""
    with serving("--port", "0", "--key", KEY) as (_, shown):
        yield {"ABLY_KEY": KEY, "ABLY_ENDPOINT": f"http://{python_options(shown)['endpoint']}"}


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
    with environment_of_a_server() as env, agent_running(env) as agent:
        env["AGENT_URL"] = agent.url
        first, second = ask("Hello", env), ask("Hello again", env)
        agent.stop()
    assert first == "There are 1 messages, and the last one says: Hello \n(complete)\n"
    assert second == "There are 3 messages, and the last one says: Hello again \n(complete)\n"
    assert "Traceback" not in agent.log


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{", "JSON"),
        ("", "JSON"),
        ("[]", "object"),
        ('{"sessionName": "examples:1"}', "inputEventId"),
        ('{"inputEventId": 3, "sessionName": "examples:1"}', "inputEventId"),
        ('{"inputEventId": "e", "sessionName": ""}', "sessionName"),
    ],
)
def test_a_request_that_is_no_invocation_is_refused(body: str, named: str, quiet_agent: Agent) -> None:
    response = httpx.post(quiet_agent.url, content=body, trust_env=False)
    assert response.status_code == 400
    assert named in response.json()["error"]


@pytest.fixture(scope="module")
def quiet_agent() -> Generator[Agent]:
    with environment_of_a_server() as env, agent_running(env) as agent:
        yield agent


def test_a_model_that_fails_is_logged_and_told() -> None:
    with environment_of_a_server() as env, agent_running(env) as agent:
        shown = ask("fail", {**env, "AGENT_URL": agent.url})
        agent.stop()
    assert shown.endswith("\n(error)\n")
    assert "RuntimeError: the model went away" in agent.log
    assert "access" not in agent.log
    assert KEY not in agent.log


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such signal")
def test_the_agent_stops_at_once_while_it_replies() -> None:
    with environment_of_a_server() as env, agent_running(env) as agent:
        command = [sys.executable, "-W", "error", str(EXAMPLES / "client.py"), "word " * 100]
        with subprocess.Popen(  # noqa: S603 - our own program
            command,
            env=environment({**env, "AGENT_URL": agent.url}),
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ) as client:
            try:
                assert client.stdout is not None
                assert client.stdout.read(5) == "There"
                assert agent.stop(signal.SIGTERM) < 2
                assert client.communicate(timeout=10)[0].endswith("\n(cancelled)\n")
            finally:
                client.kill()
    assert "Traceback" not in agent.log


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
