"""smartvif: prepare the host, choose the VF, plug, prove it, clean up."""

__version__ = "0.1.0"
