"""``python -m ably_ai_transport.cli`` is the command, too."""

from ably_ai_transport.cli import main

main()
