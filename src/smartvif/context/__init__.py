"""The settings, and the host that they describe: every driver, opened when first used."""

__all__ = [
    "host",
    "settings",
]
