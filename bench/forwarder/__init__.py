"""The virtio forwarder's packets, and live migrations."""
