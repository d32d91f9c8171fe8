"""A simulated virtio-forwarder: the daemon's protocol, and its relays as far as a client sees them.

No packet goes anywhere, and no VF is touched. What it answers, and what ends it, is as the daemon's
(Netronome/virtio-forwarder, read in 2023's last version).
"""

__all__ = [
    "relays",
    "server",
    "services",
]
