"""OpenStack's libraries, imported as the tests need them."""

from __future__ import annotations

import os
import warnings

# Nova patches the whole interpreter on import unless it is told not to (nova/monkey_patch.py).
os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "True"

with warnings.catch_warnings():
    # Eventlet, which oslo.service loads, warns of itself.
    warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
    import oslo_versionedobjects.base  # noqa: F401
