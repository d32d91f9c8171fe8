"""The daemon virtio-forwarder as an engine: its messages and its client."""

__all__ = [
    "channel",
    "client",
    "engine",
    "errors",
    "messages",
    "requests",
    "state",
]
