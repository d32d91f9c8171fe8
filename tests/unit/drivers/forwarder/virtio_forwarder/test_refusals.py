"""What virtio-forwarder refuses, and what the client does not ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from smartvif.drivers.forwarder.virtio_forwarder.client import VirtioForwarder
from smartvif.drivers.forwarder.virtio_forwarder.errors import MEANINGS, ForwarderFailed
from smartvif.drivers.forwarder.virtio_forwarder.messages import PortControlOp
from smartvif.drivers.forwarder.virtio_forwarder.requests import VfBond
from smartvif.drivers.forwarder.virtio_forwarder.state import RelayCpus
from smartvif.model.errors import Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Fault, Relays, SimulatedRelay, VfState
from smartvif.sim.virtio_forwarder.server import ZmqServer
from tests.support.virtio_forwarder import (
    BOND,
    LONG,
    NINE,
    OTHER_PATH,
    OTHER_VF,
    PATH,
    PLAIN_VF,
    VF,
    Act,
    answering,
    failing,
)


def add_vf(forwarder: VirtioForwarder) -> None:
    forwarder.add(0, PLAIN_VF, conditional=False)


def add_bond(forwarder: VirtioForwarder) -> None:
    forwarder.add(0, BOND)


def add_pair(forwarder: VirtioForwarder) -> None:
    forwarder.add_sock(PATH, PLAIN_VF, conditional=False)


def remove_vf(forwarder: VirtioForwarder) -> None:
    forwarder.remove(0, PLAIN_VF, conditional=False)


def remove_pair(forwarder: VirtioForwarder) -> None:
    forwarder.remove_sock(PATH, PLAIN_VF, conditional=False)


def fill(forwarder: VirtioForwarder) -> None:
    for index in range(4):
        forwarder.add_sock(f"/{index}", PciAddress.parse(f"0000:01:00.{index}"))


Refusal = tuple[PortControlOp, int, Sequence[Act], set[Fault], Act]
CODES: list[Refusal] = [
    (PortControlOp.ADD, 1, [], set(), lambda f: f.add(4, VF)),
    (PortControlOp.ADD, 1, [], {Fault.START}, add_vf),
    (PortControlOp.ADD, 2, [], {Fault.PROBE}, add_vf),
    (PortControlOp.ADD, 4, [], {Fault.CONFIGURE}, add_vf),
    (PortControlOp.ADD, 5, [], {Fault.RX_QUEUE}, add_vf),
    (PortControlOp.ADD, 6, [], {Fault.TX_QUEUE}, add_vf),
    (PortControlOp.ADD, 8, [add_vf], set(), add_vf),
    (PortControlOp.ADD, 8, [add_vf], set(), lambda f: f.add(0, OTHER_VF)),
    (PortControlOp.ADD, -1, [], {Fault.NO_BONDS}, add_bond),
    (PortControlOp.ADD, 1, [], set(), lambda f: f.add(4, BOND)),
    (PortControlOp.ADD, 2, [lambda f: f.add(1, BOND)], set(), add_bond),
    (PortControlOp.ADD, 3, [lambda f: f.add(1, PLAIN_VF)], set(), add_bond),
    (PortControlOp.ADD, 4, [], {Fault.CONFIGURE}, add_bond),
    (PortControlOp.ADD, 5, [], {Fault.PROBE}, add_bond),
    (PortControlOp.ADD, 6, [], {Fault.START}, add_bond),
    (PortControlOp.ADD, 8, [add_vf], set(), add_bond),
    (PortControlOp.REMOVE, 1, [], set(), lambda f: f.remove(4, VF)),
    (PortControlOp.REMOVE, 3, [add_vf], set(), lambda f: f.remove(0, OTHER_VF)),
    (PortControlOp.REMOVE, 4, [], set(), remove_vf),
    (PortControlOp.REMOVE, 5, [add_vf], {Fault.STUCK}, remove_vf),
    (PortControlOp.ADD_SOCK, -17, [add_vf], set(), add_pair),
    (PortControlOp.ADD_SOCK, -17, [add_pair], set(), add_pair),
    (PortControlOp.ADD_SOCK, -17, [add_pair], set(), lambda f: f.add_sock(OTHER_PATH, PLAIN_VF)),
    (PortControlOp.ADD_SOCK, 1, [add_pair], set(), lambda f: f.add_sock(PATH, OTHER_VF)),
    (PortControlOp.ADD_SOCK, 2, [fill], set(), add_pair),
    (PortControlOp.ADD_SOCK, 3, [], {Fault.PROBE}, add_pair),
    (PortControlOp.ADD_SOCK, 4, [], {Fault.PROBE}, lambda f: f.add_sock(PATH, BOND)),
    (PortControlOp.ADD_SOCK, 5, [], {Fault.REGISTER}, add_pair),
    (PortControlOp.REMOVE_SOCK, 1, [], set(), remove_pair),
    (PortControlOp.REMOVE_SOCK, 1, [add_pair], set(), lambda f: f.remove_sock("/x", PLAIN_VF)),
    (PortControlOp.REMOVE_SOCK, 2, [add_pair], set(), lambda f: f.remove_sock(PATH, OTHER_VF)),
    (PortControlOp.REMOVE_SOCK, 4, [add_pair], {Fault.STUCK}, remove_pair),
    (PortControlOp.QUERY_PCI, 2, [], set(), lambda f: f.query_pci(PATH)),
]
SOURCES = {
    PortControlOp.ADD: {"virtio_forwarder_add_vf2()", "virtio_forwarder_bond_add()"},
    PortControlOp.REMOVE: {"virtio_forwarder_remove_vf2()"},
    PortControlOp.ADD_SOCK: {"virtio_add_sock_dev_pair()"},
    PortControlOp.REMOVE_SOCK: {"virtio_remove_sock_dev_pair()"},
    PortControlOp.QUERY_PCI: {"virtio_query_pci()"},
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row[0].name}-{row[1]}-{n}") for n, row in enumerate(CODES)]
)
def test_refusals(row: Refusal, forwarder: VirtioForwarder, relays: Relays) -> None:
    """Each of the daemon's numbers comes out as it is, with its function and what it means."""
    op, code, before, faults, act = row
    for each in before:
        each(forwarder)
    if Fault.START in faults:
        # A VF is started only where a machine waits for it.
        relays.all[0].socket = "/machine"
        relays.connect_vm("/machine")
    relays.faults |= faults
    with pytest.raises(ForwarderFailed) as caught:
        act(forwarder)
    assert caught.value.code == code
    assert caught.value.source in SOURCES[op]
    assert MEANINGS[op][code] in str(caught.value)
    assert isinstance(caught.value, Failed)
    assert caught.value.where.startswith("ipc://")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("2000", None),
        ("2000 28efffffffffffffffff01 3201 78", -17),
        ("2000 2863 3201 78", 99),
    ],
)
def test_refusals_of_other_kinds(reply: str, code: int | None, tmp_path: Path) -> None:
    """A refusal without a number, with a negative and with an unknown one is a refusal too."""
    with (
        answering(tmp_path, lambda *_: [b"", bytes.fromhex(reply)]),
        failing(code),
    ):
        VirtioForwarder(tmp_path, timeout=LONG).query_pci(PATH)


@pytest.mark.parametrize(("reply", "code"), [("089003", 400), ("089d03", 413), ("08f403", 500)])
def test_refusals_to_tell(reply: str, code: int, tmp_path: Path) -> None:
    """Statistics that the daemon does not give are an error, not an empty list."""
    with answering(tmp_path, lambda *_: [b"", bytes.fromhex(reply)]), failing(code):
        VirtioForwarder(tmp_path, timeout=LONG).statistics()


def test_too_many_relays(forwarder: VirtioForwarder) -> None:
    """More numbers than there are relays is the daemon's own error."""
    with failing(413):
        forwarder.statistics([0, 1, 2, 3, 3])


def test_half_removed_socket(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A relay that lost its socket and kept its VF: the VF is taken away as well."""
    forwarder.add_sock(PATH, VF)
    relays.faults.add(Fault.UNREGISTER)
    forwarder.remove_sock(PATH, VF, conditional=False)
    assert all(each.idle and each.socket is None for each in forwarder.statistics())
    relays.faults.clear()
    forwarder.add_sock(PATH, VF)


def test_half_removed_earlier(forwarder: VirtioForwarder, relays: Relays) -> None:
    """What somebody else left half removed is taken away, and by no act that ends the daemon."""
    forwarder.add(1, VF)
    forwarder.remove_sock(PATH, VF)
    assert all(each.idle for each in forwarder.statistics())


def test_unclosed_device(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A device that the daemon let go of with an error is gone, as its statistics have it."""
    relays.faults.add(Fault.CLOSE)
    forwarder.add_sock(PATH, VF)
    forwarder.remove_sock(PATH, VF)
    forwarder.add(1, OTHER_VF)
    forwarder.remove(1, OTHER_VF, conditional=False)
    assert all(each.idle for each in forwarder.statistics())


def test_stuck_relay(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A relay that its CPU does not let go of is an error, also when it is asked for again."""
    forwarder.add_sock(PATH, VF)
    relays.faults.add(Fault.STUCK)
    with failing(4):
        forwarder.remove_sock(PATH, VF)
    with failing(1):
        forwarder.remove_sock(PATH, VF)
    relays.all[0].vf_state = VfState.DPDK_UNINIT
    forwarder.remove_sock(PATH, VF)


def lower(relays: Relays) -> SimulatedRelay:
    """A relay whose VF came with the daemon's configuration, in lower case."""
    relays.add(str(VF), 0, conditional=True)
    relays.all[0].socket = PATH
    return relays.all[0]


def test_addresses_in_lower_case(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A VF that the daemon knows in lower case is the same VF."""
    lower(relays)
    assert forwarder.query_pci(PATH) == VF
    forwarder.add(0, VF)
    forwarder.add_sock(PATH, VF)
    with failing(8):
        forwarder.add(0, VF, conditional=False)
    with failing(2):
        forwarder.remove_sock(PATH, PLAIN_VF)
    forwarder.remove_sock(PATH, VF)
    assert all(each.idle and each.socket is None for each in forwarder.statistics())


def test_taken_vf_with_letters(forwarder: VirtioForwarder) -> None:
    """The daemon overlooks that a VF with letters in its address is taken, and stumbles later."""
    forwarder.add_sock(PATH, VF)
    with failing(3):
        forwarder.add_sock(OTHER_PATH, VF)
    forwarder.add_sock(PATH, VF)


def test_unknown_vf(forwarder: VirtioForwarder, relays: Relays) -> None:
    """A VF that is not there, or not the daemon's to take, is not taken."""
    relays.vfs = {OTHER_VF}
    with failing(3):
        forwarder.add_sock(PATH, VF)
    forwarder.add_sock(PATH, OTHER_VF)


@pytest.mark.parametrize(
    "act",
    [
        lambda f: f.add(-1, VF),
        lambda f: f.add(2**32, VF),
        lambda f: f.remove(-1, VF),
        lambda f: f.add(0, VfBond(name="b", vfs=NINE)),
        lambda f: f.add(0, VfBond(name="b", vfs=(VF,))),
        lambda f: f.add(0, VfBond(name="", vfs=BOND.vfs)),
        lambda f: f.add(0, VfBond(name="b" * 20, vfs=BOND.vfs)),
        lambda f: f.remove(0, ""),
        lambda f: f.add_sock("", VF),
        lambda f: f.add_sock("relative", VF),
        lambda f: f.add_sock("/a\0b", VF),
        lambda f: f.add_sock("/\udcff", VF),
        lambda f: f.add_sock("/" + "ä" * 54, VF),
        lambda f: f.remove_sock("/" + "a" * 107, VF),
        lambda f: f.query_pci("x"),
        lambda f: f.statistics([-1]),
        lambda f: f.statistics(range(513)),
        lambda f: f.statistics(delay_ms=-1),
        lambda f: f.update([RelayCpus(relay=-1, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=4, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=64, to_vm=1, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=3, to_vf=1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=1, to_vf=-1)]),
        lambda f: f.update([RelayCpus(relay=0, to_vm=1, to_vf=1)] * 200),
    ],
)
def test_what_would_hurt_it(act: Act, server: ZmqServer, relays: Relays) -> None:
    """What the daemon does not survive, or takes in silence, is refused and never sent."""
    forwarder = VirtioForwarder(server.directory, timeout=LONG)
    with pytest.raises(Invalid):
        act(forwarder)
    assert server.crash is None
    assert all(each.idle for each in forwarder.statistics())


def test_longest_values(forwarder: VirtioForwarder) -> None:
    """The longest that the daemon has room for is taken, and comes back whole."""
    path, name = "/" + "a" * 106, "b" * 19
    forwarder.add_sock(path, VfBond(name=name, vfs=NINE[:8]))
    assert forwarder.query_pci(path) == name
    forwarder.remove_sock(path, name)
