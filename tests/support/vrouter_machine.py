"""Ports of the simulated vRouter, and machines that send and hear frames on them."""

from __future__ import annotations

import socket
import struct
from functools import partial
from typing import Any

from pyroute2 import IPRoute

from smartvif.drivers.kernel.links import Links
from smartvif.sim.nic import nic
from smartvif.sim.vrouter import api
from tests.support.vrouter import SECONDS, eventually, look, request

PACKET_IGNORE_OUTGOING = 23  # include/uapi/linux/if_packet.h
EVERYBODY = b"\xff" * 6
RED = "00000000-0000-0000-0000-000000000001"
BLUE = "00000000-0000-0000-0000-000000000002"


def port_id(number: int) -> str:
    """The identifier of port ``number``."""
    return f"00000000-0000-0000-0000-0000000000{number:02x}"


def mac_of(number: int) -> bytes:
    """The MAC address of port ``number``."""
    return bytes((0x52, 0x54, 0, 0, 0, number))


def add_port(number: int, network: str, netdev: str, *, active: bool = True) -> None:
    """Have the agent take a port; by default its netdev must be in use at the end."""
    body = {
        "id": port_id(number),
        "instance-id": port_id(number),
        "vn-id": network,
        "vm-project-id": "",
        "display-name": f"vm{number}",
        "ip-address": f"10.0.0.{number}",
        "ip6-address": "None",
        "mac-address": mac_of(number).hex(":"),
        "system-name": netdev,
        "type": 0,
        "rx-vlan-id": -1,
        "tx-vlan-id": -1,
    }
    request(api.PORT, "POST", "/port", body)
    assert interface(number)["active"] is active


def delete_port(number: int) -> None:
    """Have the agent drop a port."""
    request(api.PORT, "DELETE", f"/port/{port_id(number)}")


def interface(number: int) -> dict[str, Any]:
    """What the vRouter says of a port's vif."""
    (found,) = (each for each in look("interfaces") if each["port"] == port_id(number))
    return dict(found)


def up(*netdevs: str) -> None:
    """Bring links up, and wait until they and their ends inside the card operate.

    The kernel drops what is sent just before.
    """
    links = Links()
    for netdev in netdevs:
        links.set_up(netdev)
    links.close()
    with IPRoute() as here, IPRoute(netns=nic.NETNS) as card:
        for netdev in netdevs:
            for kernel in (here, card):
                eventually(partial(operates, kernel, netdev), netdev)


def operates(kernel: IPRoute, netdev: str) -> bool:
    """Whether a link is in operation (RFC 2863), if it is there."""
    states = [link.get("operstate") for link in kernel.get_links(ifname=netdev)]
    return states in (["UP"], [])


class Machine:
    """What is behind port ``number``: a socket on the far end of its netdev."""

    def __init__(self, number: int, netdev: str) -> None:
        up(netdev)
        self.number = number
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((netdev, 3))
        self.socket.settimeout(SECONDS)

    @classmethod
    def with_vf(cls, number: int, network: str, *, active: bool = True) -> Machine:
        """Port ``number`` with the representor of VF ``number``, and the machine with the VF."""
        representor = nic.representor(0, number)
        up(representor)
        machine = cls(number, nic.vf_netdev(0, number))
        add_port(number, network, representor, active=active)
        return machine

    def send(self, to: bytes, text: bytes, kind: bytes = b"\x88\xb5", source: bytes = b"") -> None:
        """Send a frame of a type that is for experiments (IEEE 802)."""
        self.socket.send(to + (source or mac_of(self.number)) + kind + text.ljust(46, b"."))

    def udp(self, to: int, count: int, first: int = 0) -> None:
        """Send packets of one flow to the machine of another port."""
        for number in range(first, first + count):
            payload = struct.pack("!HHHHI", 1000, 2000, 12, 0, number)
            head = struct.pack("!BBHHHBBH", 0x45, 0, 32, number, 0, 64, 17, 0)
            addresses = bytes((10, 0, 0, self.number, 10, 0, 0, to))
            frame = mac_of(to) + mac_of(self.number) + b"\x08\0" + head + addresses + payload
            self.socket.send(frame)

    def hears(self, count: int = 1) -> list[bytes]:
        """The texts of the next frames; each must come."""
        return [self.socket.recv(1 << 16)[14:].rstrip(b".") for _ in range(count)]

    def numbers(self, count: int) -> list[int]:
        """The numbers of the next packets that ``udp`` has sent; each must come."""
        return [struct.unpack_from("!I", self.socket.recv(1 << 16), 42)[0] for _ in range(count)]

    def heard_nothing(self) -> bool:
        """Whether nothing has come in."""
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(1 << 16)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(SECONDS)
