"""The server without sockets: connections, channels, attachments, publishing, faults."""
