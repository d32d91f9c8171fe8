"""The simulated virtio-forwarder's relays: what becomes of each, and the daemon's numbers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from smartvif.model.pci import PciAddress

_EEXIST, _ENOENT, _EINVAL = 17, 2, 22
_UNSET = -1
_TO_VM_WEIGHT, _TO_VF_WEIGHT = 12, 10
_LONGEST_DEVICE = 19


class Crash(Exception):
    """What the daemon does not survive."""


class Fault(Enum):
    """What may be made to fail inside."""

    PROBE = auto()
    CONFIGURE = auto()
    RX_QUEUE = auto()
    TX_QUEUE = auto()
    START = auto()
    NO_BONDS = auto()
    REGISTER = auto()
    UNREGISTER = auto()
    STUCK = auto()
    CLOSE = auto()


class VfState(Enum):
    """The VF's side of a relay."""

    DPDK_UNINIT = auto()
    DPDK_ADDED = auto()
    DPDK_READY = auto()
    DPDK_REMOVING1 = auto()


class VmState(Enum):
    """The machine's side of a relay."""

    VIRTIO_UNINIT = auto()
    VIRTIO_READY = auto()


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Packets and bytes of one direction, and those that had nowhere to go."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0


@dataclass(slots=True, kw_only=True)
class SimulatedRelay:
    """One relay; counters stay when its device or its machine goes."""

    id: int
    socket: str | None = None
    device: str = ""
    slaves: tuple[str, ...] = ()
    vf_state: VfState = VfState.DPDK_UNINIT
    vm_state: VmState = VmState.VIRTIO_UNINIT
    to_vm_cpu: int = _UNSET
    to_vf_cpu: int = _UNSET
    to_vm: Traffic = field(default_factory=Traffic)
    to_vf: Traffic = field(default_factory=Traffic)

    @property
    def has_vf(self) -> bool:
        """Whether its device counts as being there."""
        return self.vf_state in {VfState.DPDK_ADDED, VfState.DPDK_READY}

    @property
    def has_vm(self) -> bool:
        """Whether a machine is connected."""
        return self.vm_state is VmState.VIRTIO_READY


class Relays:
    """All relays. Devices are texts, as the daemon writes them: PCI addresses in capitals.

    ``vfs`` are those that can be taken; without it any can. ``sockets`` gives every relay one from
    the start; without it they come with ADD_SOCK. ``pins`` are the CPUs of a relay, to the machine
    and to the VF. ``faults`` may be changed at any time, and so may ``vfs``.
    """

    def __init__(
        self,
        *,
        number: int = 32,
        cores: Sequence[int] = (1, 2),
        pins: Mapping[int, tuple[int, int]] | None = None,
        vfs: set[PciAddress] | None = None,
        sockets: str | None = None,
    ) -> None:
        self.all = [SimulatedRelay(id=index) for index in range(number)]
        self.cores = tuple(cores)
        self.pins = dict(pins or {})
        self.vfs = vfs
        self.faults: set[Fault] = set()
        self.lock = threading.Lock()
        self._ports: set[str] = set()  # DPDK's, which writes PCI addresses in lower case
        for relay in self.all if sockets is not None else []:
            relay.socket = f"{sockets}/virtio-forwarder{relay.id}.sock"

    def connect_vm(self, socket: str) -> None:
        """Have a machine connect to a relay's socket."""
        with self.lock:
            relay = self._of_socket(socket)
            if relay is None or relay.has_vm:
                return
            relay.to_vf_cpu = self._cpu(relay, 1)
            relay.vm_state = VmState.VIRTIO_READY
            if relay.vf_state is VfState.DPDK_ADDED:
                relay.to_vm_cpu = self._cpu(relay, 0)
                relay.vf_state = VfState.DPDK_READY

    def disconnect_vm(self, socket: str) -> None:
        """Have the machine at a socket go."""
        with self.lock:
            relay = self._of_socket(socket)
            if relay is not None:
                _remove_vm(relay)

    def add(self, device: str, index: int, *, conditional: bool) -> int:
        """ADD of a VF; the error's number, or 0."""
        if index >= len(self.all):
            return 1
        relay = self.all[index]
        if relay.vf_state is not VfState.DPDK_UNINIT:
            same = conditional and relay.has_vf and relay.device == device
            return 0 if same else 8
        error = self._take(device)
        if error:
            return error
        if not self._join(relay, device, ()):
            self._ports.discard(device.lower())
            return 1
        return 0

    def add_bond(self, slaves: Sequence[str], name: str | None, index: int) -> int:  # noqa: PLR0911
        """ADD of a bond; the error's number, or 0."""
        if Fault.NO_BONDS in self.faults:
            return -1
        if index >= len(self.all):
            return 1
        relay = self.all[index]
        if relay.vf_state is not VfState.DPDK_UNINIT:
            return 8
        if name is None or name in self._ports:
            return 2
        # It looks for them in capitals, and so misses those with letters.
        if self._ports & set(slaves):
            return 3
        if Fault.CONFIGURE in self.faults:
            return 4
        taken: list[str] = []
        for slave in slaves:
            if self._take(slave):
                self._ports -= {each.lower() for each in taken}
                return 5
            taken.append(slave)
        if not self._join(relay, name, tuple(taken)):
            self._ports -= {each.lower() for each in taken}
            return 6
        self._ports.add(name)
        return 0

    def remove(self, device: str, index: int, *, conditional: bool) -> int:
        """REMOVE; the error's number, or 0."""
        if index >= len(self.all):
            return 1
        relay = self.all[index]
        if not relay.has_vf:
            return 0 if conditional else 4
        if relay.device != device:
            return 3
        relay.vf_state = VfState.DPDK_REMOVING1
        if Fault.STUCK in self.faults:
            return 5
        relay.vf_state = VfState.DPDK_UNINIT
        relay.to_vm_cpu = _UNSET
        if Fault.CLOSE in self.faults:
            return 2
        self._ports -= {each.lower() for each in relay.slaves} | {device, device.lower()}
        relay.device, relay.slaves = "", ()
        return 0

    def add_socket(  # noqa: PLR0911
        self, path: str | None, slaves: Sequence[str], name: str | None, *, conditional: bool
    ) -> int:
        """ADD_SOCK; the error's number, or 0."""
        if path is None:
            return -1
        device = slaves[0] if len(slaves) == 1 else name
        if device in self._ports:
            return -_EEXIST
        if self._of_socket(path) is not None:
            return 1
        idle = (
            each
            for each in self.all
            if not each.has_vm and each.vf_state is VfState.DPDK_UNINIT and each.socket is None
        )
        relay = next(idle, None)
        if relay is None:
            return 2
        if len(slaves) == 1:
            if self.add(slaves[0], relay.id, conditional=conditional):
                return 3
        elif self.add_bond(slaves, name, relay.id):
            return 4
        if Fault.REGISTER in self.faults:
            self.remove(relay.device, relay.id, conditional=conditional)
            return 5
        relay.socket = path
        return 0

    def remove_socket(self, path: str | None, device: str, *, conditional: bool) -> int:
        """REMOVE_SOCK; the error's number, or 0.

        Raises: Crash, for a relay that has lost its socket and is named by its device.
        """
        if path is None and not device:
            return -1
        if path is not None:
            relay = self._of_socket(path)
        else:
            relay = next((each for each in self.all if each.device == device), None)
        if relay is None:
            return 1
        device = device or relay.device
        if relay.device != device:
            return 2
        _remove_vm(relay)
        if relay.socket is None:
            raise Crash("it compared a path with none")
        relay.socket = None
        if Fault.UNREGISTER in self.faults:
            return 3
        return 4 if self.remove(device, relay.id, conditional=conditional) else 0

    def query(self, path: str | None) -> tuple[int, str]:
        """QUERY_PCI; the error's number, or 0, and the device."""
        if path is None:
            return _EINVAL, ""
        relay = self._of_socket(path)
        return (_ENOENT, "") if relay is None else (0, relay.device)

    def migrate(self, index: int, *, to_vm_cpu: int, to_vf_cpu: int) -> None:
        """Move a relay to other CPUs. What it cannot be moved to, or cannot be moved, stays."""
        if not 0 <= index < len(self.all):
            return
        relay = self.all[index]
        if relay.has_vm and to_vf_cpu in self.cores:
            relay.to_vf_cpu = to_vf_cpu
        if relay.has_vf and to_vm_cpu in self.cores:
            relay.to_vm_cpu = to_vm_cpu

    def _of_socket(self, path: str) -> SimulatedRelay | None:
        return next((each for each in self.all if each.socket == path), None)

    def _take(self, device: str) -> int:
        """Probe and configure a VF; the error's number, or 0."""
        # Only here is it seen that a VF with letters in its address is taken.
        port = device.lower()
        absent = self.vfs is not None and PciAddress.parse(device) not in self.vfs
        if absent or port in self._ports or Fault.PROBE in self.faults:
            return 2
        for fault, error in (
            (Fault.CONFIGURE, 4),
            (Fault.TX_QUEUE, 6),
            (Fault.RX_QUEUE, 5),
        ):
            if fault in self.faults:
                return error
        self._ports.add(port)
        return 0

    def _join(self, relay: SimulatedRelay, device: str, slaves: tuple[str, ...]) -> bool:
        """Give a relay its device; started at once where a machine waits for it."""
        if relay.has_vm and Fault.START in self.faults:
            return False
        relay.device, relay.slaves = device[:_LONGEST_DEVICE], slaves
        relay.to_vm_cpu = self._cpu(relay, 0)
        relay.vf_state = VfState.DPDK_READY if relay.has_vm else VfState.DPDK_ADDED
        return True

    def _cpu(self, relay: SimulatedRelay, direction: int) -> int:
        """The pinned CPU, or the one with the least to do."""
        if relay.id in self.pins:
            return self.pins[relay.id][direction]
        weights = dict.fromkeys(sorted(self.cores), 0)
        for each in self.all:
            if each.has_vf and each.to_vm_cpu in weights:
                weights[each.to_vm_cpu] += _TO_VM_WEIGHT
            if each.has_vm and each.to_vf_cpu in weights:
                weights[each.to_vf_cpu] += _TO_VF_WEIGHT
        return min(weights, key=weights.__getitem__)


def _remove_vm(relay: SimulatedRelay) -> None:
    if relay.has_vm:
        relay.vm_state = VmState.VIRTIO_UNINIT
        relay.to_vf_cpu = _UNSET
        if relay.vf_state is VfState.DPDK_READY:
            relay.vf_state = VfState.DPDK_ADDED
