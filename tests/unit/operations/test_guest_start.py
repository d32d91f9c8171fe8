"""The ports of a machine that starts are made from the journal alone; libvirt is never used."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.netdevice import Link
from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.model.errors import CannotTell, Failed, Invalid, SmartvifError, TimedOut
from smartvif.operations.guest_start import prepare_start
from smartvif.operations.migration.offer import MachineOffer, Move
from smartvif.operations.reconcile import reconcile, restore
from smartvif.plug.journal import PortStatus
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.plug.steps.links import Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.step import Plan
from tests.support.commands import smartvif
from tests.support.facts import port_facts

UUID = "6e1c2a5c-0d0f-4a44-9d53-6f1c2b8d7e90"
OTHER = "b0c7d2de-5a5b-4f0e-8a57-0c1f3f1d9a11"
XML = f"<domain><name>vm1</name><uuid>{UUID}</uuid></domain>"
MAC = "52:54:00:12:34:56"


class NoLibvirt:
    """A libvirt that may not be used: one that waits for the hook does not answer it."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"libvirt is used: {name}")


@dataclass
class Taps:
    """A host's links, which are taps. ``broken`` are those that cannot be made."""

    there: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)

    def get(self, name: str) -> Link | None:
        link = Link(name=name, up=True, mtu=1500, mac=MAC)
        return link if name in self.there else None

    def add_tap(self, name: str, *, multi_queue: bool) -> None:
        if name in self.broken:
            raise Failed("no room", where=name, hint="make some")
        self.there.add(name)

    def set_mac(self, name: str, mac: str) -> None:
        assert name in self.there


@pytest.fixture
def taps() -> Taps:
    """A host after a reboot: it has none."""
    return Taps()


@pytest.fixture
def host(tmp_path: Path, taps: Taps, monkeypatch: pytest.MonkeyPatch) -> HostContext:
    """A host with these links, a journal of its own, and a libvirt that may not be used."""
    monkeypatch.setenv("SMARTVIF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(settings, "DEFAULT_FILE", tmp_path / "none.toml")
    made = HostContext(settings.load())
    drivers = Drivers(links=cast(Any, taps), guests=cast(Any, NoLibvirt()))
    vars(made).update(domains=NoLibvirt(), drivers=drivers)
    return made


def plugged(host: HostContext, port: str, **facts: Any) -> None:
    """Write a port that was attached before the reboot: a tap, and the machine's interface."""
    known = port_facts(**{"vm_uuid": UUID, "switch_port": f"tap{port}", **facts})
    uuid = known.vm_uuid or UUID
    interface = AttachedInterface(uuid=uuid, domain=known.vm, mac=MAC, xml="<interface/>")
    plan: Plan = (Tap(name=f"tap{port}", mac=MAC), interface)
    host.journal.begin(port, known)
    for number, step in enumerate(plan):
        host.journal.doing(port, number, step, {"existed": False})
        host.journal.done(port, number)
    host.journal.set_status(port, PortStatus.PLUGGED)


def test_its_ports_are_made(host: HostContext, taps: Taps) -> None:
    """Those of the machine, and no other's; doing it again does nothing."""
    plugged(host, "1")
    plugged(host, "2")
    plugged(host, "3", vm="vm2", vm_uuid=OTHER)
    report = prepare_start(host, XML)
    assert (set(report.done), report.failed) == ({"1", "2"}, {})
    assert taps.there == {"tap1", "tap2"}
    assert prepare_start(host, XML).done == {}


def test_it_is_known_by_its_uuid(host: HostContext, taps: Taps) -> None:
    """A machine that has got the name of another has not got its ports."""
    plugged(host, "1", vm="renamed")
    plugged(host, "2", vm_uuid=OTHER)
    plugged(host, "3", vm_uuid=None)
    plugged(host, "4", vm="vm2", vm_uuid=None)
    prepare_start(host, XML)
    assert taps.there == {"tap1", "tap3"}


def test_a_machine_without_ports(host: HostContext, tmp_path: Path) -> None:
    """Nothing happens, and no journal is made."""
    assert prepare_start(host, XML).done == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "<domain/>", "<domain><name>vm1</name></domain>"])
def test_what_is_no_machine(host: HostContext, text: str) -> None:
    """What is no domain's XML is refused."""
    with pytest.raises(Invalid):
        prepare_start(host, text)


def test_a_port_that_cannot_be_made(host: HostContext, taps: Taps) -> None:
    """It fails, and the others are made; a failure of another machine's port is none."""
    plugged(host, "1")
    plugged(host, "2")
    plugged(host, "3", vm_uuid=OTHER)
    taps.broken = {"tap1", "tap3"}
    failed = prepare_start(host, XML).failed
    assert {port: error.what for port, error in failed.items()} == {"1": "no room"}
    assert taps.there == {"tap2"}


def test_a_switch_that_does_not_answer(host: HostContext, taps: Taps) -> None:
    """The tap is made, and the port fails nevertheless: its place in the switch is unknown."""
    plugged(host, "1")
    spec = OvsPortSpec(bridge="br-int", name="tap1", owner="1")
    host.journal.doing("1", 2, SwitchPort(spec=spec), {})
    (error,) = prepare_start(host, XML).failed.values()
    assert isinstance(error, CannotTell)
    assert taps.there == {"tap1"}


def test_rows_that_cannot_be_read(host: HostContext, taps: Taps) -> None:
    """They keep the machine whose they are from its start, and no other."""
    plugged(host, "1")
    plugged(host, "2", vm_uuid=OTHER)
    host.journal._write("UPDATE steps SET fields = '[]' WHERE port = '2'", ())
    assert (prepare_start(host, XML).failed, taps.there) == ({}, {"tap1"})
    other: dict[str, SmartvifError] = dict(prepare_start(host, XML.replace(UUID, OTHER)).failed)
    assert set(other) == {"2"}


def test_an_interrupted_port_is_left(host: HostContext, taps: Taps) -> None:
    """Its rollback may change the machine, so it is left to reconcile."""
    plugged(host, "1")
    host.journal.set_status("1", PortStatus.PLUGGING)
    assert prepare_start(host, XML).done == {}
    record = host.journal.port("1")
    assert record is not None
    assert (record.status, taps.there) == (PortStatus.PLUGGING, set())


def test_a_port_that_another_process_is_at_work_on(host: HostContext, taps: Taps) -> None:
    """It is waited for, and not without end."""
    plugged(host, "1")
    with host.journal.locked("1"):
        (error,) = prepare_start(host, XML, timeout=0.2).failed.values()
    assert isinstance(error, TimedOut)
    assert taps.there == set()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with host.journal.locked("1"):
            held.set()
            release.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    threading.Timer(0.3, release.set).start()
    assert prepare_start(host, XML, timeout=60).failed == {}
    other.join()
    assert taps.there == {"tap1"}


def test_at_boot(host: HostContext, taps: Taps) -> None:
    """All ports are made, without libvirt, and claims and interrupted ports are left."""
    plugged(host, "1")
    plugged(host, "2", vm="vm2", vm_uuid=OTHER)
    plugged(host, "3")
    host.journal.set_status("3", PortStatus.UNPLUGGING)
    foreseen = restore(host, dry_run=True)
    assert taps.there == set()
    report = restore(host)
    assert report == foreseen
    assert (set(report.done), report.failed) == ({"1", "2"}, {})
    assert taps.there == {"tap1", "tap2"}


def test_the_ports_of_a_move_are_left_at_boot(host: HostContext, taps: Taps) -> None:
    """It is unknown without libvirt on which host the machine is."""
    plugged(host, UUID)
    assert set(restore(host, dry_run=True).done) == {UUID}
    record = host.journal.port(UUID)
    assert record is not None
    offer = MachineOffer.of("vm1", UUID, [record])
    host.journal.begin_move("vm1", Move(to="b", offer=offer).dump())
    assert restore(host).done == {}
    assert taps.there == set()


def test_the_stand_in_would_be_noticed(host: HostContext) -> None:
    """What uses libvirt fails with this host, so that the tests above can fail."""
    plugged(host, "1")
    with pytest.raises(AssertionError, match="libvirt is used"):
        reconcile(host)


@pytest.mark.parametrize(
    ("operation", "suboperation"),
    [("prepare", "end"), ("release", "end"), ("migrate", "begin"), ("reconnect", "begin")],
)
def test_other_operations(tmp_path: Path, operation: str, suboperation: str) -> None:
    """The command passes them: it prints nothing, and reads no configuration."""
    env = {"SMARTVIF_CONFIG": str(tmp_path / "none.toml")}
    answer = smartvif("libvirt-hook", "vm1", operation, suboperation, "-", env=env)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
