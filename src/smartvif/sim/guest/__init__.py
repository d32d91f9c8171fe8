"""The simulated host's guests: kernel, image, console, libvirtd."""

__all__ = [
    "console",
    "cpio",
    "guests",
    "image",
    "kernel",
    "libvirtd",
    "ping",
    "vmlinux",
]
