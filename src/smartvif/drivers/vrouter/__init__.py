"""The vRouter's agent and its port files."""

__all__ = [
    "agent",
    "files",
    "port",
]
