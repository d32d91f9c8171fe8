"""The simulated vRouter: its agent's API before a small datapath."""

__all__ = [
    "api",
    "bridge",
    "daemon",
    "datapath",
    "flows",
    "hold",
    "introspect",
    "loop",
    "messages",
    "offload",
    "ports",
    "tunnel",
    "vif",
    "vifs",
]
