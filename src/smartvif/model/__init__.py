"""Values and errors, without input or output."""

__all__ = [
    "checks",
    "choices",
    "deadline",
    "document",
    "error_codec",
    "errors",
    "guest_interface",
    "known",
    "needs",
    "pci",
    "port",
    "port_facts",
    "port_spec",
    "traits",
    "verdict",
    "vif",
]
