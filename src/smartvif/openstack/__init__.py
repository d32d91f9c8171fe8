"""What OpenStack loads: os-vif plugins, their options, and daemons for what takes privileges."""

__all__ = [
    "options",
    "os_vif",
    "privileged",
    "privileged_netns",
    "remote_error",
]
