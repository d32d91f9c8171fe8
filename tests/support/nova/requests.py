"""Where our requests for devices are deliberately other than Nova's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smartvif.model.choices import NumaPolicy
from smartvif.model.port import VifType, VnicType
from tests.support.nova.neutron_ports import Case, segment

ACCELERATED = (VnicType.ACCELERATOR_DIRECT, VnicType.ACCELERATOR_DIRECT_PHYSICAL)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What Nova asks for or ``nova_raises``, and what we ask for instead."""

    id: str
    example: Case
    applies: Callable[[Case], bool]
    nova_raises: str | None = None
    nova_asks: dict[str, Any] = field(default_factory=dict)
    we_ask: dict[str, Any] = field(default_factory=dict)


TUNNELS = (segment("vxlan"), segment("geneve"))
DIFFERENCES = (
    Difference(
        id="several-tunnels",
        example=Case(segments=TUNNELS, policy=NumaPolicy.LEGACY),
        applies=lambda case: case.segments == TUNNELS,
        nova_raises="NovaException",
        we_ask={"physical_network": None},
    ),
    Difference(
        id="accelerator",
        example=Case(vnic_type=VnicType.ACCELERATOR_DIRECT),
        applies=lambda case: case.vnic_type in ACCELERATED,
        nova_raises="DeviceProfileError",
        we_ask={"device": None},
    ),
    Difference(
        id="not-trusted",
        example=Case(trusted="false", policy=NumaPolicy.LEGACY),
        applies=lambda case: str(case.trusted) in ("False", "false"),
        nova_asks={"trusted": False},
        we_ask={"trusted": None},
    ),
    Difference(
        id="trusted-attribute",
        example=Case(attribute=True, policy=NumaPolicy.LEGACY),
        applies=lambda case: bool(case.attribute) and case.trusted is None,
        nova_asks={"trusted": None},
        we_ask={"trusted": True},
    ),
    Difference(
        id="no-numa-policy",
        example=Case(),
        applies=lambda case: case.policy is None and case.flavor is None,
        nova_asks={"numa": None},
        we_ask={"numa": NumaPolicy.PREFERRED},
    ),
)
"""Those at which Nova raises come first, in the order in which it does."""


@dataclass(frozen=True, kw_only=True)
class Blind:
    """Two ports for which Nova asks for the same, and in which of our words they differ."""

    id: str
    one: tuple[VnicType, VifType]
    other: tuple[VnicType, VifType]
    words: set[str]


DIRECT_OVS = (VnicType.DIRECT, VifType.OVS)
BLIND = (
    Blind(
        id="eswitch-mode",
        one=DIRECT_OVS,
        other=(VnicType.DIRECT, VifType.HW_VEB),
        words={"required", "forbidden", "host_traits"},
    ),
    Blind(
        id="macvtap",
        one=(VnicType.VIRTIO_FORWARDER, VifType.OVS),
        other=(VnicType.MACVTAP, VifType.OVS),
        words={"required", "forbidden"},
    ),
    Blind(
        id="vnic-type",
        one=DIRECT_OVS,
        other=(VnicType.VIRTIO_FORWARDER, VifType.OVS),
        words={"required"},
    ),
    Blind(
        id="switch",
        one=DIRECT_OVS,
        other=(VnicType.DIRECT, VifType.VROUTER),
        words={"host_traits"},
    ),
)
