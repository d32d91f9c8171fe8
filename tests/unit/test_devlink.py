import struct

import pytest

from smartvif.host import devlink
from smartvif.host.port_name import PortKind, PortName
from smartvif.host.sriov import EswitchMode
from smartvif.model.pci import PciAddress

VF3 = {
    "BUS_NAME": "pci",
    "DEV_NAME": "0000:03:00.0",
    "PORT_NETDEV_NAME": "eth4",
    "PORT_FLAVOUR": 4,
    "PORT_PCI_PF_NUMBER": 0,
    "PORT_PCI_VF_NUMBER": 3,
}


def wire(*attributes: tuple[int, bytes]) -> bytes:
    """A devlink message as it comes from the kernel (include/uapi/linux/netlink.h)."""
    body = struct.pack("BBH", 7, 1, 0)  # DEVLINK_CMD_PORT_NEW
    for kind, value in attributes:
        body += struct.pack("HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)
    return struct.pack("IHHII", len(body) + 16, 0x1D, 2, 1, 0) + body


def decoded(*attributes: tuple[int, bytes]) -> dict[str, object]:
    """The attributes of a message in the kernel's bytes."""
    message = devlink.message_class()(data=wire(*attributes))
    message.decode()
    return devlink.to_attributes(message)


def test_message_layout() -> None:
    """A message in the kernel's own bytes gives each attribute its name; strange ones are left."""
    attributes = decoded(
        (1, b"pci\0"),
        (2, b"0000:03:00.0\0"),
        (3, struct.pack("I", 65540)),  # PORT_INDEX, not wanted
        (7, b"eth4\0"),
        (77, struct.pack("H", 4)),
        (127, struct.pack("H", 0)),
        (128, struct.pack("H", 3)),
        (149, b"\1"),
        (150, struct.pack("I", 1)),
        (9999, b"later"),
    )
    assert attributes == VF3 | {"PORT_EXTERNAL": 1, "PORT_CONTROLLER_NUMBER": 1}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, PortName(kind=PortKind.VF, pf=0, number=3)),
        ({"PORT_EXTERNAL": 0}, PortName(kind=PortKind.VF, pf=0, number=3)),
        (
            {"PORT_EXTERNAL": 1, "PORT_CONTROLLER_NUMBER": 1},
            PortName(kind=PortKind.VF, controller=1, pf=0, number=3),
        ),
        ({"PORT_EXTERNAL": 1}, PortName(kind=PortKind.OTHER, pf=None)),
        ({"PORT_FLAVOUR": 0, "PORT_NUMBER": 1}, PortName(kind=PortKind.UPLINK, number=1)),
        ({"PORT_FLAVOUR": 3}, PortName(kind=PortKind.PF, pf=0)),
        (
            {"PORT_FLAVOUR": 7, "PORT_PCI_SF_NUMBER": 88},
            PortName(kind=PortKind.SF, pf=0, number=88),
        ),
        ({"PORT_FLAVOUR": 5}, PortName(kind=PortKind.OTHER)),
    ],
)
def test_port(changes: dict[str, int], name: PortName) -> None:
    """Each flavour is the kind of port it stands for; another host's port is never a local one."""
    port = devlink.to_port(VF3 | changes)
    assert port == devlink.DevlinkPort(netdev="eth4", device="0000:03:00.0", name=name)


@pytest.mark.parametrize("change", [{"BUS_NAME": "netdevsim"}, {"PORT_NETDEV_NAME": ""}])
def test_no_port_of_ours(change: dict[str, str]) -> None:
    """A port of no PCI device, or without an interface, is none."""
    assert devlink.to_port(VF3 | change) is None


def test_absence_is_no_error() -> None:
    """A device that devlink does not know has no known mode, whatever the kernel has."""
    assert devlink.eswitch_mode(PciAddress(0xFFFF, 0xFF, 0x1F, 7)) is EswitchMode.UNKNOWN
    assert isinstance(devlink.ports(), tuple)
