"""The commands and their options."""

from pathlib import Path
from typing import Annotated

import typer

from ably_ai_transport.cli.problems import explained, needs_extra, run
from ably_ai_transport.version import __version__

DEFAULT_PORT = 8099
GATEWAY_PORT = 8100

app = typer.Typer(
    name="ably-ai-transport",
    help="Durable AI sessions over Ably channels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ably-ai-transport {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    """Durable AI sessions over Ably channels."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = DEFAULT_PORT,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="APP.KEY:SECRET", help="API key to accept, may be repeated; made up if left out."
        ),
    ] = None,
    rollup: Annotated[
        int,
        typer.Option(min=0, metavar="MS", help="Merge appends within this time; 40 is Ably's default."),
    ] = 40,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep everything in this file, over restarts; made if missing."),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Provision apps at /apps, as the test suites of Ably's SDKs ask for."),
    ] = False,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Show channels, frames and conversations on a page.")
    ] = False,
) -> None:
    """Run a local server that speaks Ably's protocol, for development and tests."""
    with explained(), needs_extra("cli"):
        from ably_ai_transport.cli.serve import ServeOptions, serve_until_stopped
    options = ServeOptions(host, port, tuple(key or ()), rollup, allow_remote, data, sandbox, inspect)
    run(lambda: serve_until_stopped(options))


@app.command()
def demo(
    script: Annotated[
        bool, typer.Option("--script", help="Play the prepared scenes, also where there is a terminal.")
    ] = False,
    recordings: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Reply from the recorded model streams in this folder."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model to ask, where OPENAI_API_KEY is set.", show_default=False)
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.1, max=5, help="Play replies this many times faster.", show_default=False)
    ] = 1.0,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the log to a file.")] = None,
) -> None:
    """See it at work: a server, an agent, and people who share a conversation, all on this machine."""
    with explained(), needs_extra("cli"):
        from ably_ai_transport.cli.demo.run import DemoOptions, run_demo
    options = DemoOptions(script=script, recordings=recordings, model=model, speed=speed, log=log)
    run(lambda: run_demo(options))


@app.command(name="haip-gateway")
def haip_gateway(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = GATEWAY_PORT,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where agents take invocations; a built-in one replies if left out."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="APP.KEY:SECRET",
            envvar="ABLY_KEY",
            help="Ably key; a local server is started if left out.",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="ABLY_ENDPOINT",
            help="A local server that runs; Ably's own if left out.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="HAIP_JWT_SECRET", help="What tokens are signed with (HS256); made up if left out."
        ),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach.")
    ] = False,
) -> None:
    """Put HAIP clients into sessions, beside AI-transport clients and agents."""
    with explained(), needs_extra("cli,haip"):
        from ably_ai_transport.cli.haip_gateway import GatewayOptions, run_gateway
    options = GatewayOptions(host, port, agent, key, endpoint, secret, allow_remote)
    run(lambda: run_gateway(options))
