"""Representors: the network interface that is the switch port of a VF."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smartvif.host import devlink, sriov, sysfs
from smartvif.host.function_driver import PfProblem, pf_problem
from smartvif.host.port_name import PortKind, PortName
from smartvif.host.sriov import SYSFS, Vf
from smartvif.model.errors import Ambiguous, Invalid, NotFound
from smartvif.model.pci import PciAddress

_FUNCTIONS = {PortKind.PF, PortKind.VF, PortKind.SF}

# Switch id, controller, PF number, VF or SF, its number.
_Key = tuple[str, int, int | None, PortKind, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Representor:
    """The switch's port to one VF."""

    netdev: str
    switch_id: str
    name: PortName


@dataclass(frozen=True, slots=True, kw_only=True)
class _SwitchNetdev:
    """A network interface that is a port of a switch.

    ``device`` is the PCI function above it, ``said`` its ``phys_port_name`` as read.
    """

    netdev: str
    switch_id: str
    device: PciAddress | None
    said: str | None
    name: PortName


class Representors:
    """The index of all switch ports, read in one pass at the first look-up.

    A hit is verified by reading it again (two files); the index is read again where it no longer
    matches, and at a miss. A second claim to a VF that has been found once is noticed only then:
    use one object for one change of the host. Thread-safe.
    """

    def __init__(
        self,
        root: Path = SYSFS,
        ports: Callable[[], Iterable[devlink.DevlinkPort]] | None = None,
    ) -> None:
        self._root = root
        self._folder = f"{root}/class/net"
        # devlink answers for the running kernel, not for a test's tree.
        self._ports = ports or (devlink.ports if root == SYSFS else tuple)
        self._index: _Index | None = None
        self._lock = threading.Lock()

    def find(self, vf: Vf) -> Representor:
        """The representor of ``vf``.

        Raises: NotFound, Ambiguous when more than one interface claims to be it.
        """
        index = self._index
        if index is not None:
            claims = index.claims(vf)
            if len(claims) == 1 and self._stands(claims[0]):
                return _representor(claims[0])
        index = self._renewed(index)
        claims = index.claims(vf)
        if not claims:
            raise index.why_not(vf, self._pf_problem(vf.pf))
        if len(claims) > 1:
            names = " and ".join(sorted(claim.netdev for claim in claims))
            raise Ambiguous(
                f"{names} both claim to be the representor",
                where=str(vf.address),
                hint="compare their phys_switch_id and phys_port_name in /sys/class/net",
            )
        return _representor(claims[0])

    def _pf_problem(self, pf: PciAddress) -> PfProblem | None:
        driver = sysfs.target(f"{self._root}/bus/pci/devices/{pf}/driver")
        return pf_problem(pf, driver, sriov.uplink(pf, self._root))

    def _stands(self, netdev: _SwitchNetdev) -> bool:
        folder = f"{self._folder}/{netdev.netdev}"
        return (
            sysfs.read(f"{folder}/phys_switch_id") == netdev.switch_id
            and sysfs.read(f"{folder}/phys_port_name") == netdev.said
        )

    def _renewed(self, seen: _Index | None) -> _Index:
        with self._lock:
            if self._index is None or self._index is seen:
                self._index = _Index(_switch_netdevs(self._folder, self._ports))
            return self._index


def _switch_netdevs(
    folder: str, ports: Callable[[], Iterable[devlink.DevlinkPort]]
) -> list[_SwitchNetdev]:
    """Read every switch port below ``folder``, a ``class/net``; devlink takes precedence.

    devlink is queried only where there is a switch port at all.
    """
    switches = {
        name: sysfs.read(f"{folder}/{name}/phys_switch_id") for name in sorted(sysfs.names(folder))
    }
    named = {port.netdev: port for port in ports()} if any(switches.values()) else {}
    found = []
    for netdev, switch_id in switches.items():
        if not switch_id:
            continue
        said = sysfs.read(f"{folder}/{netdev}/phys_port_name")
        port = named.get(netdev)
        device = port.device if port else sysfs.target(f"{folder}/{netdev}/device")
        found.append(
            _SwitchNetdev(
                netdev=netdev,
                switch_id=switch_id,
                device=_address(device),
                said=said,
                name=port.name if port else PortName.parse(said or ""),
            )
        )
    return found


class _Index:
    """Switch ports by what they face. Immutable."""

    def __init__(self, netdevs: Iterable[_SwitchNetdev]) -> None:
        below: defaultdict[PciAddress, list[_SwitchNetdev]] = defaultdict(list)
        ports: defaultdict[_Key, list[_SwitchNetdev]] = defaultdict(list)
        netdevs = list(netdevs)
        for netdev in netdevs:
            if netdev.device is not None:
                below[netdev.device].append(netdev)
        self._switches = {pf: _switch_id(own) for pf, own in below.items()}
        self._numbers = _pf_numbers(below, self._switches)
        owners: defaultdict[str, list[PciAddress]] = defaultdict(list)
        for pf, switch_id in self._switches.items():
            owners[switch_id].append(pf)
        for netdev in netdevs:
            name, pf_number = netdev.name, netdev.name.pf
            if name.kind is PortKind.VF and pf_number is None:
                pf_number = self._owner_number(netdev, owners[netdev.switch_id])
            if name.kind in {PortKind.VF, PortKind.SF}:
                key = (netdev.switch_id, name.controller, pf_number, name.kind, name.number)
                ports[key].append(netdev)
        self._ports = dict(ports)

    def claims(self, vf: Vf) -> list[_SwitchNetdev]:
        """The interfaces that say they face ``vf``."""
        switch_id, pf_number = self._switches.get(vf.pf), self._numbers.get(vf.pf)
        if switch_id is None or pf_number is None:
            return []
        return self._ports.get((switch_id, 0, pf_number, PortKind.VF, vf.number), [])

    def why_not(self, vf: Vf, problem: PfProblem | None) -> NotFound | Ambiguous:
        """Why nothing claims to face ``vf``; ``problem`` is its PF's, if that has one."""
        where, switch_id = str(vf.address), self._switches.get(vf.pf)
        if switch_id is None and problem is not None:
            return NotFound(problem.what, where=where, hint=problem.hint)
        if switch_id is None:
            return NotFound(
                f"PF {vf.pf} has no port with a switch id, so VF {vf.number} has no representor",
                where=where,
                hint=f"set it up: devlink dev eswitch set pci/{vf.pf} mode switchdev",
            )
        unsaid = self._ports.get((switch_id, 0, None, PortKind.VF, vf.number))
        if unsaid:
            return Ambiguous(
                f"{unsaid[0].netdev} faces a VF {vf.number}, and its PF is not known",
                where=where,
                hint="a kernel from Linux 5.3 on says the PF in phys_port_name",
            )
        return NotFound(
            f"no interface is the port to VF {vf.number} of PF {vf.pf}",
            where=where,
            hint=f"see that sriov_numvfs of {vf.pf} is more than {vf.number}"
            " and that the representor is in this network namespace",
        )

    def _owner_number(self, netdev: _SwitchNetdev, owners: list[PciAddress]) -> int | None:
        """The PF's number for a port that only names its VF: the PF above it, or the only one."""
        if netdev.device is not None:
            return self._numbers.get(netdev.device)
        return self._numbers.get(owners[0]) if len(owners) == 1 else None


def _pf_numbers(
    below: Mapping[PciAddress, list[_SwitchNetdev]], switches: Mapping[PciAddress, str]
) -> dict[PciAddress, int]:
    """The number each PF has in the port names of its switch.

    It is not always the PCI function: a guest may have the second PF as function 0, and bnxt has
    several PFs on one wire. Sources in order: the ports below a PF that name it, its uplink (mlx5
    counts both alike), the PCI function. A number that two PFs of one switch would get, or that one
    already has, is discarded.
    """
    numbers: dict[PciAddress, int] = {}
    for source in (_number_in_ports, _number_of_uplink, _number_of_function):
        guesses = {pf: source(pf, own) for pf, own in below.items() if pf not in numbers}
        taken = Counter((switches[pf], number) for pf, number in numbers.items())
        taken.update((switches[pf], n) for pf, n in guesses.items() if n is not None)
        numbers.update(
            (pf, n) for pf, n in guesses.items() if n is not None and taken[switches[pf], n] == 1
        )
    return numbers


def _number_in_ports(_pf: PciAddress, own: list[_SwitchNetdev]) -> int | None:
    local = {n.name.pf for n in own if n.name.kind in _FUNCTIONS and n.name.controller == 0}
    local.discard(None)
    return local.pop() if len(local) == 1 else None


def _number_of_uplink(_pf: PciAddress, own: list[_SwitchNetdev]) -> int | None:
    uplinks = [n.name.number for n in own if n.name.kind is PortKind.UPLINK]
    return uplinks[0] if len(uplinks) == 1 else None


def _number_of_function(pf: PciAddress, _own: list[_SwitchNetdev]) -> int | None:
    return pf.function


def _switch_id(own: list[_SwitchNetdev]) -> str:
    """The switch of the uplink, else of any port: they hang below the PF whose switch it is."""
    return min(own, key=lambda netdev: netdev.name.kind is not PortKind.UPLINK).switch_id


def _representor(netdev: _SwitchNetdev) -> Representor:
    return Representor(netdev=netdev.netdev, switch_id=netdev.switch_id, name=netdev.name)


def _address(text: str | None) -> PciAddress | None:
    try:
        return None if text is None else PciAddress.parse(text)
    except Invalid:
        return None
