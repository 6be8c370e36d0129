"""The server on the network: websockets, REST, and `LocalServer`."""
