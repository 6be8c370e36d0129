"""Where the examples find Ably: in ``ABLY_KEY``, and in ``ABLY_ENDPOINT`` for a local server.

ably-ai-transport serve --key dev.key:secret
export ABLY_KEY=dev.key:secret ABLY_ENDPOINT=127.0.0.1:8099/
"""

import os

from ably import AblyRealtime


def connect(client_id: str) -> AblyRealtime:
    """Open an Ably client; the caller closes it."""
    key, endpoint = os.environ["ABLY_KEY"], os.environ.get("ABLY_ENDPOINT")
    if endpoint is None:
        return AblyRealtime(key, client_id=client_id)
    return AblyRealtime(
        key,
        client_id=client_id,
        endpoint=endpoint,
        tls=False,
        use_token_auth=True,
        default_token_params={"client_id": client_id},
    )
