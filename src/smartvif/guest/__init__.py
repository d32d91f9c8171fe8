"""libvirt's XML (pure), and libvirt's machines."""

__all__ = [
    "affinity",
    "connection",
    "domains",
    "element",
    "xml",
]
