"""A whole simulated host around a function: SmartNIC, switches, forwarder, libvirt, guests.

The files and sockets have the names that they have on a real host, so that smartvif, ovs-vsctl
and virsh work inside as they do outside. Only /sys is the simulation's own, and only for the
function and what it starts: the daemons keep the kernel's.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from smartvif.drivers.forwarder.ovs_dpdk import RELAYS
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.client import Ovsdb
from smartvif.drivers.ovs.rows import OvsPortSpec, bridge_ops
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.guest.connection import Connection, translated
from smartvif.model.deadline import Deadline
from smartvif.model.errors import Failed, Refused
from smartvif.sim.guest import image, libvirtd
from smartvif.sim.guest.guests import SimulatedGuests
from smartvif.sim.nic import nic, sysfs
from smartvif.sim.nic.nic import NicLayout
from smartvif.sim.ovs import HOST_CONFIG, OvsInstance, forwarder_config
from smartvif.sim.process import namespaces, netns
from smartvif.sim.vrouter.daemon import VRouter

_log = logging.getLogger(__name__)

BRIDGE = "br-int"
FORWARDER_NETNS = "forwarder"
SIMULATION = Path("/run/smartvif-sim")
OPENVSWITCH = Path("/run/openvswitch")
FORWARDER = Path("/run/smartvif/forwarder")
SOCKETS = Path("/run/smartvif/vhostuser")
STATE = Path("/run/smartvif/state")
CONFIG = Path("/run/smartvif/smartvif.toml")
VROUTER = SIMULATION / "vrouter"
FLEET = SIMULATION / "fleet"
LIBVIRT = SIMULATION / "libvirt"
GUESTS = SIMULATION / "guests"
_TUN = Path("/dev/net/tun")
_BOOT = 120.0  # seconds; three guests on two busy processors take a quarter of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Underlay:
    """A host's place on the network between hosts: the addresses of its p0 and of its peers'."""

    address: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedHost:
    """What the host is to have. Its guests are called vm1, vm2, ... and are booted.

    ``visitors`` is how many guests may come to it besides.
    """

    nic: NicLayout
    guests: int = 0
    visitors: int = 0

    @property
    def room(self) -> int:
        """For how many guests it must have a forwarder and a libvirt."""
        return self.guests + self.visitors

    @property
    def guest_names(self) -> tuple[str, ...]:
        """The names of the guests."""
        return tuple(f"vm{number}" for number in range(1, self.guests + 1))


def run(host: SimulatedHost, main: Callable[[], int]) -> int:
    """Make the host, run ``main`` in it, take everything away, and return its exit code.

    Raises: Failed, where this machine lacks something; its hint says what to do. Refused, where
    it is a simulated host already: the kernel lets none be made inside one.
    """
    return namespaces.run(partial(_alone, host, prepared(host), main))


def prepared(host: SimulatedHost) -> image.GuestImage | None:
    """What has to be there before the namespaces are entered: the image of the guests, if any.

    Raises: as ``run``.
    """
    if SIMULATION.exists():
        raise Refused(
            "this is a simulated host already", where="sim", hint="leave it, and start another"
        )
    if host.room and not os.access(_TUN, os.R_OK | os.W_OK):
        raise Failed(
            f"you may not use {_TUN}",
            where="sim",
            hint=f"as root, give it the mode that udev gives it: chmod 0666 {_TUN}",
        )
    return image.ensure() if host.room else None


def host_switch() -> OvsInstance:
    """The host's Open vSwitch."""
    return OvsInstance(directory=OPENVSWITCH, config=HOST_CONFIG)


def forwarder_switch(relays: int) -> OvsInstance:
    """The forwarder's Open vSwitch, in its own network namespace, for that many relays."""
    return OvsInstance(
        directory=FORWARDER,
        config=forwarder_config(relays),
        netns=FORWARDER_NETNS,
        dpdk=True,
        supervised=True,
        external_ids={RELAYS: str(relays)},
    )


def host_vrouter(underlay: Underlay | None = None) -> VRouter:
    """The host's vRouter, which makes tunnels where there is an underlay."""
    if underlay is None:
        return VRouter(directory=VROUTER)
    return VRouter(directory=VROUTER, underlay=underlay.address, peers=underlay.peers)


def add_uplink(netdev: str) -> None:
    """Put an uplink of the SmartNIC into the bridge, so that its machines reach other hosts.

    Raises: Failed, TimedOut.
    """
    database = Ovsdb(host_switch().address)
    OpenVSwitch(database).add_port(OvsPortSpec(bridge=BRIDGE, name=netdev, owner="uplink"))
    database.close()
    links = Links()
    links.set_up(netdev)
    links.close()


def find_daemons() -> None:
    """Have programs found where Debian keeps daemons; an ordinary user's PATH lacks it."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def make_hardware(host: SimulatedHost) -> None:
    """Make /run, /sys and the SmartNIC, in namespaces that are this process's own.

    Raises: Failed.
    """
    namespaces.mount("tmpfs", "/run", kind="tmpfs")
    namespaces.mount("sysfs", "/sys", kind="sysfs")
    for directory in (SIMULATION, SOCKETS, STATE, GUESTS):
        directory.mkdir(parents=True)
    nic.create(host.nic)
    links = Links()
    links.set_up("lo")
    links.close()
    _log.info("SmartNIC with %d PFs of %d VFs (simulated)", host.nic.pfs, host.nic.vfs)


def start(
    host: SimulatedHost, guest_image: image.GuestImage | None, underlay: Underlay | None
) -> dict[str, str]:
    """Start all that runs on the hardware, as this process's children, and boot the guests.

    Returns the variables by which a process on the host finds its settings and its libvirt.
    Raises: Failed, TimedOut.
    """
    environment = {"SMARTVIF_CONFIG": str(CONFIG)}
    _start_daemons(underlay)
    if guest_image is not None:
        environment["LIBVIRT_DEFAULT_URI"] = _boot(host, guest_image)
    uri = environment.get("LIBVIRT_DEFAULT_URI", "qemu:///session")
    CONFIG.write_text(_configuration(uri, underlay.address if underlay is not None else ""))
    sysfs.write_sysfs(host.nic, SIMULATION / "sys")
    return environment


def show_sysfs() -> None:
    """Have this process see the simulation's /sys; the daemons that it has started do not."""
    namespaces.enter_mounts()
    namespaces.bind(SIMULATION / "sys", "/sys")


def _alone(
    host: SimulatedHost, guest_image: image.GuestImage | None, main: Callable[[], int]
) -> int:
    """The host in namespaces of its own, and ``main`` in a child of the daemons' parent."""
    find_daemons()
    make_hardware(host)
    environment = start(host, guest_image, None)
    child = os.fork()
    if child == 0:
        _inside(main, environment)
    with namespaces.interrupts_ignored():
        return namespaces.exit_code(os.waitpid(child, 0)[1])


def _inside(main: Callable[[], int], environment: dict[str, str]) -> NoReturn:
    code = 1
    try:
        namespaces.die_with_parent()
        show_sysfs()
        os.environ.update(environment)
        code = namespaces.guarded(main)
    finally:
        os._exit(code)


def _start_daemons(underlay: Underlay | None) -> None:
    """Start the daemons of every host, with guests or without."""
    host_switch().start()
    _add_bridge()
    _log.info("Open vSwitch with bridge %s", BRIDGE)
    host_vrouter(underlay).start()
    _log.info("vRouter (simulated)")


def _boot(host: SimulatedHost, guest_image: image.GuestImage) -> str:
    """Start what guests need, then the guests; returns libvirt's URI."""
    netns.make(FORWARDER_NETNS)
    forwarder_switch(host.room).start()
    _log.info("forwarder: OVS-DPDK in network namespace '%s'", FORWARDER_NETNS)
    daemon = libvirtd.start(LIBVIRT)
    _ask_for_abilities(daemon.uri)
    guests = SimulatedGuests(daemon.uri, GUESTS)
    for name in host.guest_names:
        guests.define(name, guest_image)
        guests.start(name)
    for name in host.guest_names:
        guests.wait_ready(name, timeout=_BOOT)
        _log.info("guest %s is up", name)
    return daemon.uri


def _ask_for_abilities(uri: str) -> None:
    """Have libvirt ask QEMU what it can do, which takes seconds, and not when a machine comes."""
    connection = Connection(uri)
    with translated(uri):
        connection.open().getDomainCapabilities(None, "x86_64", "pc", "qemu")


def _add_bridge() -> None:
    database = Ovsdb(host_switch().address)
    row = {"name": BRIDGE, "datapath_type": "netdev"}
    database.commit(bridge_ops(row, [{"name": BRIDGE, "type": "internal"}]), Deadline(10.0))
    database.close()


def _configuration(libvirt_uri: str, address: str) -> str:
    return f"""\
[openvswitch]
database = "unix:{OPENVSWITCH}/db.sock"

[vrouter]
ports = "{VROUTER}/ports"

[libvirt]
uri = "{libvirt_uri}"

[forwarder]
database = "unix:{FORWARDER}/db.sock"
netns = "{FORWARDER_NETNS}"
sockets = "{SOCKETS}"

[migration]
remote = "{sys.executable} -m smartvif.sim.enter {{host}}"
libvirt = "qemu+unix:///session?socket={FLEET}/{{host}}{LIBVIRT}/run/libvirt/libvirt-sock"
address = "{address}"

[state]
directory = "{STATE}"
"""
