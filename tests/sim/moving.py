"""A machine vm1 that moves between two simulated hosts, and vm2, which stays on the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import configure, document, eventually_pings, guest, host
from test_vrouter_datapath import eventually

from smartvif.demo.demo import host_state
from smartvif.sim.guest.console import Console
from smartvif.sim.host import GUESTS

HERE = {"normal": "10.0.0.1", "virtio-forwarder": "10.0.1.1", "direct": "10.0.2.1"}
"""The address of each of vm1's ports, in a network of its own."""

_THERE = {mode: f"{address[:-1]}2" for mode, address in HERE.items()}
TRANSPARENT = ("normal", "virtio-forwarder")
_ONE_ANSWER = "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore"  # for the interface it is on only


def in_vm1(command: str) -> str:
    """What a command in vm1 says, on the host that this runs on; a guest that came never booted."""
    code, said = Console(GUESTS / "vm1.agent").run(command)
    assert code == 0, said
    return said.decode()


def interface(mac: str) -> str:
    """The name that vm1 gives the interface with that address, once it is there."""
    look = f"grep -il {mac} /sys/class/net/*/address; true"
    eventually(lambda: bool(in_vm1(look)))
    return Path(in_vm1(look).strip()).parent.name


def give_address(mac: str, address: str) -> None:
    """Give vm1's interface an address, as somebody who has just plugged in a card does."""
    name = interface(mac)
    in_vm1(f"ifconfig {name} {address} netmask 255.255.255.0 up")


def links(macs: list[str]) -> dict[str, str]:
    """What vm1 knows of its interfaces: how often each lost or found its link, and its state."""
    names = {mac: interface(mac) for mac in macs}
    look = "cat carrier_changes operstate"
    return {mac: in_vm1(f"cd /sys/class/net/{name} && {look}") for mac, name in names.items()}


def settled(macs: list[str]) -> dict[str, str]:
    """The same, once all links are up."""
    eventually(lambda: all("up" in state for state in links(macs).values()))
    return links(macs)


def set_up_vm2(port: dict[str, Any]) -> None:
    """Give vm2 an address in each of the networks."""
    name = configure("vm2", port["mac"], next(iter(_THERE.values())))
    for address in list(_THERE.values())[1:]:
        code, said = guest("vm2").run(f"ip addr add {address}/24 dev {name}")
        assert code == 0, said


def set_up_vm1(
    modes: tuple[str, ...], plug: Callable[[str, str], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Attach vm1 in these modes and give it its addresses; its ports."""
    in_vm1(_ONE_ANSWER)
    ports = {mode: plug("vm1", mode) for mode in modes}
    for mode, port in ports.items():
        give_address(port["mac"], HERE[mode])
    assert all(eventually_pings("vm2", HERE[mode]) for mode in modes)
    return ports


def answered(address: str) -> bool:
    """Whether vm2 has an answer from there."""
    return eventually_pings("vm2", address)


def everything() -> set[str]:
    """All traces on the host that this runs on."""
    return host_state(host())


def healthy() -> dict[str, str | None]:
    """The ports of the host that this runs on, all of which work, and their VFs."""
    return {port["id"]: port["vf"] for port in document("ports")["ports"]}
