"""The ``ably-ai-transport`` command.

Importing this package loads nothing else; each command loads what it needs.
"""

import sys


def main() -> None:
    """Run the command with the arguments of this process, and leave it.

    Raises:
        SystemExit: Always: 0 for success, 1 for a failure, 2 for wrong options or a missing package.
    """
    try:
        from ably_ai_transport.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("rich", "typer"):
            raise
        sys.stderr.write(
            f"The command line needs the package {error.name!r}, which is not installed:"
            ' pip install "ably-ai-transport[cli]"\n'
        )
        raise SystemExit(2) from None
    app()
