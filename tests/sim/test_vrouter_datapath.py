"""The simulated vRouter with packets: networks, netdevs that come and go, tunnels, the card."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from smartvif.drivers.kernel.links import Links
from smartvif.model.errors import Refused
from smartvif.sim.fleet import Fleet
from smartvif.sim.host import host_vrouter
from smartvif.sim.nic import nic
from smartvif.sim.testing import on_simulated_host, on_simulated_hosts
from smartvif.sim.vrouter import api, introspect
from smartvif.sim.vrouter.daemon import VRouter

PACKET_IGNORE_OUTGOING = 23  # include/uapi/linux/if_packet.h
SECONDS = 10.0
EVERYBODY = b"\xff" * 6
RED = "00000000-0000-0000-0000-000000000001"
BLUE = "00000000-0000-0000-0000-000000000002"
OF_REDS_VNI = "ffffffff-0000-0000-0000-000000000001"
MANY = 1000


def request(port: int, method: str, path: str, body: object = None) -> Any:
    """Ask the port API or the introspect, which must agree."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text)
    return json.loads(text)


def look(what: str) -> Any:
    """A document of the introspect, which says that it is of a simulation."""
    document = request(introspect.PORT, "GET", f"/{what}")
    assert document["simulated"] is True
    return document if what in {"totals", "faults"} else document[what]


def set_faults(**faults: object) -> None:
    """Put faults into the card or the port API."""
    document = request(introspect.PORT, "PUT", "/faults", faults)
    assert faults.items() <= document.items()


def eventually(holds: Callable[[], bool], what: object = None) -> None:
    """Wait until it holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.01)


def nobody_listens() -> bool:
    """Whether no vRouter takes requests."""
    with socket.socket(socket.AF_INET) as client:
        return client.connect_ex(("127.0.0.1", api.PORT)) != 0


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


@on_simulated_host()
def test_a_network_is_reached_and_closed() -> None:
    """Ports of one network get each other's frames, groups' as well; the other network none."""
    red, red2, red3 = (Machine.with_vf(number, RED) for number in (1, 2, 3))
    blue, blue2 = (Machine.with_vf(number, BLUE) for number in (4, 5))
    red.send(EVERYBODY, b"to all")
    assert red2.hears() == red3.hears() == [b"to all"]
    red2.send(mac_of(1), b"to one")
    assert red.hears() == [b"to one"]
    red.send(mac_of(5), b"to a stranger")
    assert red2.hears() == red3.hears() == [b"to a stranger"]
    # Whatever was for the other network would have come before its own.
    for sender, other in ((blue, blue2), (blue2, blue)):
        sender.send(mac_of(other.number), b"blue")
        assert other.hears() == [b"blue"]
    assert all(each.heard_nothing() for each in (red, red2, red3, blue, blue2))
    totals = look("totals")
    assert (totals["forwarded"], totals["flooded"], totals["dropped"]) == (3, 2, {})


@on_simulated_host()
def test_addresses_are_learned() -> None:
    """A frame for an address that has spoken goes to its port alone; a neighbour's is not taken."""
    one, two, three = (Machine.with_vf(number, RED) for number in (1, 2, 3))
    nested = mac_of(0x99)
    one.send(EVERYBODY, b"here", source=nested)
    assert two.hears() == three.hears() == [b"here"]
    two.send(nested, b"to nested")
    assert one.hears() == [b"to nested"]
    three.send(EVERYBODY, b"I am two", source=mac_of(2))
    assert one.hears() == two.hears() == [b"I am two"]
    one.send(mac_of(2), b"to two")
    assert two.hears() == [b"to two"]
    assert three.heard_nothing()


@on_simulated_host()
def test_frames_with_a_vlan_are_dropped() -> None:
    """A frame with a tag goes nowhere, and is counted; the next one without goes on."""
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    one.send(mac_of(2), b"\0\x2a\x88\xb5tagged", kind=b"\x81\0")
    one.send(mac_of(2), b"plain")
    assert two.hears() == [b"plain"]
    assert look("totals")["dropped"] == {"VLAN tag": 1}


@on_simulated_host()
def test_the_host_is_not_in_the_network() -> None:
    """The host answers no machine for an address of its own, but does when the port is gone."""
    subprocess.run(["ip", "address", "add", "10.0.0.100/32", "dev", "lo"], check=True)
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    for number in (1, 2):  # the machines' own ends are of this host as well
        netdev = nic.vf_netdev(0, number)
        subprocess.run(["ip", "link", "set", netdev, "arp", "off"], check=True)
    hosts = bytes((10, 0, 0, 100))
    ask = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac_of(1), b"\x0a\0\0\1", b"", hosts)
    one.send(EVERYBODY, ask, kind=b"\x08\x06")
    assert two.hears() == [ask]
    two.send(mac_of(1), b"last")
    assert one.hears() == [b"last"]
    delete_port(1)
    one.send(EVERYBODY, ask, kind=b"\x08\x06")
    (answer,) = one.hears()
    assert answer[14:18] == hosts


@on_simulated_host()
def test_a_netdev_may_come_late_and_come_back() -> None:
    """A port waits for its netdev, works while it is up, and again when it is made anew."""
    one = Machine.with_vf(1, RED)
    add_port(2, RED, "late", active=False)
    assert interface(2)["reason"] == "its netdev is not there"
    links = Links()
    for text in (b"first", b"again"):
        links.add_veth("late", "machine")
        eventually(lambda: interface(2)["reason"] == "its netdev is down")
        links.set_up("machine")
        up("late", "machine")
        two = Machine(2, "machine")
        eventually(lambda: bool(interface(2)["active"]))
        one.send(mac_of(2), text)
        assert two.hears() == [text]
        two.send(mac_of(1), text)
        assert one.hears() == [text]
        links.set_down("late")
        eventually(lambda: interface(2)["reason"] == "its netdev is down")
        links.delete("late")
        eventually(lambda: interface(2)["reason"] == "its netdev is not there")


@on_simulated_host()
def test_a_deleted_port_is_cut_off() -> None:
    """What is for a deleted port goes nowhere, and so does what its machine sends; flows end."""
    one, two, three = (Machine.with_vf(number, RED) for number in (1, 2, 3))
    one.udp(2, 1)
    two.hears()
    assert [flow["offloaded"] for flow in look("flows")] == [True]
    delete_port(2)
    assert look("flows") == []
    one.udp(2, 1)  # by the card, if the flow were still there
    two.send(EVERYBODY, b"from a deleted port")
    three.hears()  # the address is nobody's now
    one.send(mac_of(3), b"last")
    assert three.hears() == [b"last"]
    assert two.heard_nothing()
    assert one.heard_nothing()


@on_simulated_host()
def test_a_netdev_has_one_port_and_a_vni_one_network() -> None:
    """The second port of a netdev, and a network whose VNI is taken, wait for the first to go."""
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    add_port(3, RED, nic.representor(0, 1), active=False)
    assert interface(3)["reason"] == f"its netdev is that of port {port_id(1)}"
    stranger = Machine.with_vf(4, OF_REDS_VNI, active=False)
    assert interface(4)["reason"] == f"its network's VNI, 1, is that of network {RED}"
    one.send(EVERYBODY, b"red")
    assert two.hears() == [b"red"]
    assert stranger.heard_nothing()
    links = Links()
    links.add_bridge("other")
    up(nic.representor(0, 5))
    links.set_master(nic.representor(0, 5), "other")
    add_port(5, RED, nic.representor(0, 5), active=False)
    assert interface(5)["reason"] == "its netdev is in another bridge"
    delete_port(5)
    delete_port(1)
    assert interface(3)["active"]
    delete_port(2)
    assert not interface(4)["active"]
    delete_port(3)
    assert interface(4)["active"]


@on_simulated_host()
def test_the_card_passes_on_what_it_was_told() -> None:
    """Of a flow between two VFs the vRouter passes on the first packet, the card all others."""
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    one.udp(2, 1)
    two.hears()
    (flow,) = look("flows")
    assert (flow["offloaded"], flow["reason"], flow["target"]) == (True, None, port_id(2))
    one.udp(2, MANY - 1, first=1)
    assert sorted(two.numbers(MANY - 1)) == list(range(1, MANY))
    (flow,) = look("flows")
    assert (flow["software_packets"], flow["hardware_packets"]) == (1, MANY - 1)
    assert flow["hardware_bytes"] == (MANY - 1) * flow["software_bytes"]
    assert look("totals")["forwarded"] == 1
    assert two.heard_nothing()


@pytest.mark.parametrize("fault", [{"capacity": 0}, {"fail_hooks": "out of order"}])
def test_a_miss_is_no_drop(fault: dict[str, object]) -> None:
    """What the card does not take the vRouter passes on itself, all of it, and says why."""

    @on_simulated_host()
    def inside() -> None:
        set_faults(**fault)
        one, two = (Machine.with_vf(number, RED) for number in (1, 2))
        for first in range(0, MANY, 100):
            one.udp(2, 100, first=first)
            assert two.numbers(100) == list(range(first, first + 100))
        (flow,) = look("flows")
        assert (flow["software_packets"], flow["hardware_packets"]) == (MANY, 0)
        assert flow["offloaded"] is False
        assert ("out of order" in flow["reason"]) is ("fail_hooks" in fault)
        # The flow is not offered again; another one is, once the card works.
        set_faults(capacity=8, fail_hooks=None)
        one.udp(2, 1)
        two.udp(1, 1)
        one.hears()
        assert [flow["offloaded"] for flow in look("flows")] == [False, True]

    inside()


@on_simulated_host()
def test_a_flow_follows_its_address() -> None:
    """When an address is heard elsewhere, the card no longer passes on to where it was."""
    one, two, three = (Machine.with_vf(number, RED) for number in (1, 2, 3))
    for here, other in ((two, three), (three, two)):
        here.send(EVERYBODY, b"I am nine", source=mac_of(9))
        assert one.hears() == other.hears() == [b"I am nine"]
        one.udp(9, 1)
        here.hears()
        (flow,) = look("flows")
        assert (flow["offloaded"], flow["target"]) == (True, port_id(here.number))
    assert two.heard_nothing()
    assert three.heard_nothing()


@on_simulated_host()
def test_the_port_api_can_be_made_to_fail() -> None:
    """A wrong answer is given until it is taken back; a fault that is none is refused."""
    set_faults(answer=[503, "not now"])
    with pytest.raises(AssertionError, match="503, b'not now'"):
        delete_port(1)
    set_faults(answer=None)
    Machine.with_vf(1, RED)
    with pytest.raises(AssertionError, match="400"):
        set_faults(colour="red")
    with pytest.raises(AssertionError, match="404"):
        look("nothing")


@on_simulated_host()
def test_only_flows_between_vfs_are_for_the_card() -> None:
    """A flow to a netdev that is not the card's stays with the vRouter, and says so."""
    one = Machine.with_vf(1, RED)
    links = Links()
    links.add_veth("plain", "machine")
    links.set_up("machine")
    up("plain")
    two = Machine(2, "machine")
    add_port(2, RED, "plain")
    one.udp(2, 3)
    two.hears(3)
    (flow,) = look("flows")
    assert (flow["offloaded"], flow["software_packets"]) == (False, 3)
    assert "plain is no representor" in flow["reason"]


@on_simulated_host()
def test_the_ports_outlive_the_vrouter_and_flows_do_not() -> None:
    """A killed vRouter's flows live on in the card; the next one has its ports, and no flows."""
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    one.udp(2, 1)
    two.hears()
    assert [flow["offloaded"] for flow in look("flows")] == [True]
    os.kill(int(host_vrouter().pid.read_text()), signal.SIGKILL)
    eventually(nobody_listens)
    one.udp(2, 1)
    assert two.hears(), "the card goes on alone"
    one.send(EVERYBODY, b"to nobody")
    host_vrouter().start()
    assert [each["active"] for each in look("interfaces")] == [True, True]
    assert look("flows") == []
    one.udp(2, 1)
    two.hears()
    (flow,) = look("flows")
    assert (flow["software_packets"], flow["hardware_packets"]) == (1, 0)


@on_simulated_host()
def test_a_second_vrouter_leaves_the_first_alone() -> None:
    """One that finds another at work ends at once, and the other has not noticed."""
    one, two = (Machine.with_vf(number, RED) for number in (1, 2))
    command = [sys.executable, "-m", "smartvif.sim.vrouter", "--ports", "/run/others"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "another vRouter is at work" in ended.stderr
    with pytest.raises(Refused):
        host_vrouter().start()
    one.send(mac_of(2), b"undisturbed")
    assert two.hears() == [b"undisturbed"]
    assert all(each["active"] for each in look("interfaces"))


@on_simulated_host()
def test_segments_pass_uncut() -> None:
    """TCP between two machines carries megabytes: unsummed and uncut segments arrive whole."""
    set_faults(capacity=0)
    links = Links()
    for number in (1, 2):
        up(nic.representor(0, number))
        add_port(number, RED, nic.representor(0, number))
        name, vf = f"vm{number}", nic.vf_netdev(0, number)
        subprocess.run(["ip", "netns", "add", name], check=True)
        links.move(vf, name)
        for words in (
            ("link", "set", vf, "address", mac_of(number).hex(":"), "up"),
            ("address", "add", f"10.0.0.{number}/24", "dev", vf),
        ):
            subprocess.run(["ip", "-n", name, *words], check=True)
    size = 4 << 20
    server = subprocess.Popen(
        ["ip", "netns", "exec", "vm2", sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"listening\n"
    client = ["ip", "netns", "exec", "vm1", sys.executable, "-c", SEND, str(size)]
    subprocess.run(client, check=True, timeout=SECONDS)
    assert int(server.communicate(timeout=SECONDS)[0]) == size
    (there, _) = sorted(look("flows"), key=lambda flow: -flow["software_bytes"])
    longest = there["software_bytes"] / there["software_packets"]
    assert longest > 2 * nic.MTU, "no segment was longer than the wire allows"


RECEIVE = """
import socket
server = socket.create_server(("10.0.0.2", 7))
print("listening", flush=True)
connection, _ = server.accept()
total = 0
while data := connection.recv(1 << 20):
    total += len(data)
print(total)
"""
SEND = """
import socket, sys
socket.create_connection(("10.0.0.2", 7), timeout=10).sendall(bytes(int(sys.argv[1])))
"""


@on_simulated_hosts(2)
def test_a_network_spans_hosts(fleet: Fleet) -> None:
    """Machines on two hosts reach each other in their network's tunnel, and no other network."""
    here, there = fleet.hosts
    far = there.start(far_side)
    here.call(near_side)
    assert far.result() == [b"hello", b"to two", b"end"]


def near_side() -> None:
    """Talk to the machine on the other host, and then look at the tunnel."""
    red, blue = Machine.with_vf(1, RED), Machine.with_vf(2, BLUE)
    tunnel = next(each for each in look("interfaces") if each["vni"] == 1 and not each["port"])
    eventually(lambda: look("interfaces")[-1]["active"] is True, lambda: look("interfaces"))
    red.socket.settimeout(0.2)
    eventually(partial(answered, red), lambda: look("totals"))
    forwarded = look("totals")["forwarded"]
    red.send(mac_of(3), b"to two")
    red.hears()
    assert look("totals")["forwarded"] > forwarded, "the far address was learned"
    red.send(EVERYBODY, b"end")
    assert blue.heard_nothing()
    links = Links()
    link = links.get(tunnel["netdev"])
    assert link is not None
    assert link.mtu == 1550, "the underlay's 1600, less a tunnel's 50"
    delete_port(1)
    assert links.get(tunnel["netdev"]) is None
    assert links.get("vrx000002") is not None


def answered(machine: Machine) -> bool:
    """Whether somebody answers; the other host may not be there yet."""
    machine.send(EVERYBODY, b"hello")
    try:
        return machine.hears() == [b"answer"]
    except TimeoutError:
        return False


def far_side() -> list[bytes]:
    """Answer what is heard, and tell it without repetitions; the network beside hears nothing."""
    red, blue = Machine.with_vf(3, RED), Machine.with_vf(4, BLUE)
    heard: list[bytes] = []
    while b"end" not in heard:
        (text,) = red.hears()
        if text not in heard:
            heard.append(text)
        red.send(mac_of(1), b"answer")
    assert blue.heard_nothing()
    return heard


def test_files_are_where_the_daemon_says(tmp_path: Path) -> None:
    """The ports' files and the log are in its directory."""
    assert VRouter(directory=tmp_path).ports == tmp_path / "ports"
    assert VRouter(directory=tmp_path).log == tmp_path / "vrouter.log"
