"""The names of a device's capabilities: those of os-traits, and our own.

A name that os-traits does not have begins with CUSTOM_, as Placement demands
(https://docs.openstack.org/os-traits/latest/user/index.html).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smartvif.model.errors import Invalid

if TYPE_CHECKING:
    from smartvif.model.port import VnicType

SRIOV = "HW_NIC_SRIOV"
SWITCHDEV = "HW_NIC_OFFLOAD_SWITCHDEV"
TRUSTED = "HW_NIC_SRIOV_TRUSTED"
RATE = "HW_NIC_SRIOV_QOS_TX"
MULTIQUEUE = "HW_NIC_MULTIQUEUE"
VF_MULTIQUEUE = "HW_NIC_SRIOV_MULTIQUEUE"
RDMA = "HW_NIC_OFFLOAD_RDMA"
TC = "CUSTOM_NIC_OFFLOAD_TC"
VF_LAG = "CUSTOM_NIC_VF_LAG"
REMOTE_MANAGED = "COMPUTE_REMOTE_MANAGED_PORTS"
LIVE_MIGRATABLE = "HW_PCI_LIVE_MIGRATABLE"
SMARTNIC = "CUSTOM_SMARTNIC"
"""Of a host: it has VFs, or had when it was last published."""
TUNNELLED = "CUSTOM_NETWORK_TUNNELLED"
SIMULATED = "CUSTOM_NIC_SIMULATED"

# Placement's own rule (placement/schemas/trait.py): letters, digits and _, at most 255.
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,254}")
_FOREIGN = re.compile(r"[^A-Z0-9_]+")
_GROUPS = ("HW_", "COMPUTE_", "STORAGE_", "MISC_", "OWNER_", "CUSTOM_")


def check(name: str) -> None:
    """Raises: Invalid, for what cannot be the name of a trait."""
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            f"'{name}' is not the name of a capability",
            hint=f"as in os-traits, like {SWITCHDEV}, or CUSTOM_ and what you like",
        )


def normal(name: str) -> str:
    """A trait as an operator writes it, as Nova takes it: one without a known beginning is custom.

    Raises: Invalid.
    """
    text = name.strip().upper()
    found = text if text.startswith(_GROUPS) else _custom(text)
    check(found)
    return found


def vnic_type(kind: VnicType) -> str:
    """A device that can be behind a port of this VNIC type: ``CUSTOM_VNIC_TYPE_DIRECT``."""
    return _custom(f"VNIC_TYPE_{kind}")


def datapath(switch: str) -> str:
    """A host with this switch, ``ovs`` or ``vrouter``: ``CUSTOM_DATAPATH_OVS``."""
    return _custom(f"DATAPATH_{switch}")


def physical_network(name: str) -> str:
    """A device on this physical network; in any case, as Nova compares them."""
    return _custom(f"PHYSNET_{name}")


def _custom(name: str) -> str:
    return f"CUSTOM_{_FOREIGN.sub('_', name.upper())}"
