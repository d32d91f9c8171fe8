"""Plans on a simulated host: all of their steps or none, whatever fails and whoever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from smartvif.context import settings
from smartvif.context.host import HostContext
from smartvif.demo.demo import NETWORK, host_state
from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.ovs.switch import OpenVSwitch
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.host import sriov
from smartvif.model.choices import Mode
from smartvif.model.errors import Failed, Refused, SmartvifError, StepFailed, TimedOut
from smartvif.model.port_spec import PortSpec
from smartvif.operations.ports.attach import attach
from smartvif.operations.ports.detach import detach
from smartvif.operations.reconcile import reconcile
from smartvif.plug.each_port import Report
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.plug.steps.links import LinkUp, Tap
from smartvif.plug.steps.ovs import SwitchPort
from smartvif.plug.steps.relay import ForwarderRelay
from smartvif.plug.steps.simulated_vf import SimulatedPassthrough, SimulatedVfSettings
from smartvif.plug.steps.step import Step
from smartvif.plug.steps.vrouter import AgentPort
from smartvif.sim.host import BRIDGE, OPENVSWITCH, SIMULATION
from smartvif.sim.nic.nic import NETNS, representor, vf_netdev
from smartvif.sim.testing import on_simulated_host
from tests.support.leftovers import everything

_STEPS: dict[tuple[str, Mode], tuple[type, ...]] = {
    ("ovs", Mode.NORMAL): (Tap, SwitchPort, AttachedInterface),
    ("ovs", Mode.DIRECT): (
        SimulatedVfSettings,
        SwitchPort,
        Tap,
        SimulatedPassthrough,
        AttachedInterface,
    ),
    ("ovs", Mode.VIRTIO_FORWARDER): (
        SimulatedVfSettings,
        SwitchPort,
        ForwarderRelay,
        AttachedInterface,
    ),
    ("vrouter", Mode.NORMAL): (Tap, LinkUp, AgentPort, AttachedInterface),
    ("vrouter", Mode.DIRECT): (
        SimulatedVfSettings,
        LinkUp,
        AgentPort,
        Tap,
        SimulatedPassthrough,
        AttachedInterface,
    ),
    ("vrouter", Mode.VIRTIO_FORWARDER): (
        SimulatedVfSettings,
        LinkUp,
        AgentPort,
        ForwarderRelay,
        AttachedInterface,
    ),
}
"""Each switch's and mode's steps, in their order; no plan has two of one kind."""
_WHERE: dict[str, dict[str, Any]] = {
    "ovs": {"bridge": BRIDGE},
    "vrouter": {"network": NETWORK},
}
_on_each_switch = pytest.mark.parametrize("switch", list(_WHERE))


def _every_step(switch: str) -> list[tuple[Mode, type]]:
    return [(mode, kind) for (on, mode), kinds in _STEPS.items() if on == switch for kind in kinds]


def _host() -> HostContext:
    return HostContext(settings.load())


def _request(mode: Mode, switch: str = "ovs", **asked: Any) -> PortSpec:
    return PortSpec(vm="vm1", mode=mode, switch=switch, **_WHERE[switch], **asked)


@contextlib.contextmanager
def _when(kind: type, act: Callable[[], None], *, before: bool) -> Iterator[None]:
    """Call ``act`` before or after each ``do`` of the steps of that kind."""
    real = kind.do  # type: ignore[attr-defined]

    def do(step: Step, drivers: Drivers) -> None:
        if before:
            act()
        real(step, drivers)
        act()

    with mock.patch.object(kind, "do", do):
        yield


def _fail() -> None:
    raise Failed("made to fail")


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(work: Callable[[], object]) -> bool:
    """Do the work in a process of its own; whether SIGKILL ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@_on_each_switch
@on_simulated_host(guests=1)
def test_a_plan_that_fails_at_any_step_leaves_nothing(switch: str) -> None:
    """For every mode and step, failing before or after its act: all is as before, VF included."""
    host = _host()
    before = everything(host)
    for mode, kind in _every_step(switch):
        for early in (True, False):
            with _when(kind, _fail, before=early), pytest.raises(StepFailed) as caught:
                attach(_request(mode, switch), host)
            assert caught.value.what == f"cannot {caught.value.step}: made to fail"
            assert caught.value.where.startswith("port ")
            assert everything(host) == before, (mode, kind, early)
    assert reconcile(host) == Report()


@on_simulated_host(guests=1)
def test_every_mode_has_the_steps_that_are_tested() -> None:
    """The table above is true, and detaching undoes every step."""
    host = _host()
    before = everything(host)
    for (switch, mode), kinds in _STEPS.items():
        record = attach(_request(mode, switch), host)
        assert tuple(type(entry.step) for entry in host.journal.entries(record.id)) == kinds
        detach(record.id, host)
        assert everything(host) == before


@_on_each_switch
@on_simulated_host(guests=1)
def test_a_process_killed_at_any_step_is_tidied_up_after(switch: str) -> None:
    """SIGKILL before or after any step's act: reconcile leaves the host as it was."""
    before = everything(_host())
    for mode, kind in _every_step(switch):
        for early in (True, False):
            with _when(kind, _die, before=early):
                assert _killed(lambda mode=mode: attach(_request(mode, switch), _host()))  # type: ignore[misc]
            host = _host()
            (record,) = host.journal.ports()
            assert reconcile(host, dry_run=True).done == {record.id: "undo: it was plugging"}
            reconcile(host)
            assert everything(host) == before, (mode, kind, early)


@_on_each_switch
@on_simulated_host(guests=1)
def test_a_killed_detach_is_finished_by_reconcile(switch: str) -> None:
    """SIGKILL while any step is undone: reconcile undoes the rest."""
    before = everything(_host())
    for mode, kind in _every_step(switch):
        record = attach(_request(mode, switch), _host())
        with mock.patch.object(kind, "undo", _die):
            assert _killed(lambda port=record.id: detach(port, _host()))  # type: ignore[misc]
        host = _host()
        assert reconcile(host).done == {record.id: "undo: it was unplugging"}
        assert everything(host) == before, (mode, kind)


@on_simulated_host(guests=1)
def test_a_death_between_the_ports_file_and_the_agent_is_tidied_up_after() -> None:
    """SIGKILL when a port's file is written or removed and the agent not told: nothing stays."""
    before = everything(_host())
    with mock.patch.object(PortFiles, "write", _then_die(PortFiles.write)):
        assert _killed(lambda: attach(_request(Mode.DIRECT, "vrouter"), _host()))
    assert any("vRouter: port" in trace for trace in everything(_host()) - before)
    reconcile(_host())
    assert everything(_host()) == before

    record = attach(_request(Mode.DIRECT, "vrouter"), _host())
    with mock.patch.object(PortFiles, "remove", _then_die(PortFiles.remove)):
        assert _killed(lambda: detach(record.id, _host()))
    assert any("vRouter: vif" in trace for trace in everything(_host()) - before)
    reconcile(_host())
    assert everything(_host()) == before


def _then_die(real: Callable[..., None]) -> Callable[..., None]:
    def act(*args: object) -> None:
        real(*args)
        _die()

    return act


@on_simulated_host(guests=1)
def test_a_vf_that_vanished_is_no_hindrance_to_detaching() -> None:
    """The VF and its representor gone, and its sysfs entry: detach leaves nothing."""
    host = _host()
    for mode in (Mode.DIRECT, Mode.VIRTIO_FORWARDER):
        before = host_state(host)
        record = attach(_request(mode), host)
        assert record.vf is not None
        assert record.facts.switch_port is not None
        number = int(record.facts.switch_port.removeprefix("p0r"))
        # Without its inner end a netdev is gone, in whatever namespace it is.
        inside = Links(NETNS)
        inside.delete(vf_netdev(0, number))
        inside.delete(representor(0, number))
        (SIMULATION / "sys" / "bus/pci/devices" / str(record.vf)).unlink()
        detach(record.id, _host())
        gone = {trace for trace in before if f"p0r{number} " in trace or f"p0v{number} " in trace}
        assert len(gone) == 2
        assert host_state(_host()) == before - gone


@on_simulated_host(guests=1)
def test_a_vf_is_given_once() -> None:
    """Two attachments get two VFs; asking for one in use is refused; all used up is said."""
    host = _host()
    records = [attach(_request(Mode.DIRECT), host) for _ in range(8)]
    assert len({record.vf for record in records}) == 8
    before = host_state(host)
    with pytest.raises(SmartvifError, match="none of 8 VFs is suitable"):
        attach(_request(Mode.DIRECT), host)
    with pytest.raises(Refused, match="in use by port"):
        attach(_request(Mode.DIRECT, vf=sriov.pfs()[0].vfs[3].address), host)
    assert host_state(host) == before


@on_simulated_host(guests=1)
def test_a_representor_that_somebody_put_in_a_switch_is_passed_over() -> None:
    """A VF whose representor is in a bridge already is in use; the next one is chosen."""
    subprocess.run(["ovs-vsctl", "add-port", BRIDGE, "p0r0"], check=True)
    record = attach(_request(Mode.DIRECT), _host())
    assert record.facts.switch_port == "p0r1"
    with pytest.raises(Refused, match=f"in use by bridge {BRIDGE}"):
        attach(_request(Mode.DIRECT, vf=sriov.pfs()[0].vfs[0].address), _host())


@on_simulated_host(guests=1)
def test_processes_that_attach_at_once_get_different_vfs() -> None:
    """Eight processes attach at the same time: eight ports, eight VFs, all working."""
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                attach(_request(Mode.DIRECT), _host())
                code = 0
            os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
    assert len({record.vf for record in _host().journal.ports()}) == 8


@on_simulated_host(guests=1)
def test_a_stopped_vswitchd_undoes_the_plug_and_the_rest_waits_for_it() -> None:
    """With ovs-vswitchd stopped a plug fails at the deadline, with nothing left when it is back."""
    host = _host()
    before = host_state(host)
    vswitchd = int((OPENVSWITCH / "ovs-vswitchd.pid").read_text())
    host.drivers.need(OpenVSwitch).timeout = 1.0
    os.kill(vswitchd, signal.SIGSTOP)
    with pytest.raises(StepFailed) as caught:
        attach(_request(Mode.NORMAL), host)
    assert isinstance(caught.value.cause, TimedOut)
    os.kill(vswitchd, signal.SIGCONT)
    assert host_state(host) == before


@on_simulated_host(guests=1)
def test_plugging_again_mends_what_was_broken_and_keeps_the_rest() -> None:
    """A switch port or tap taken away behind our back is made again by reconcile."""
    host = _host()
    record = attach(_request(Mode.NORMAL), host)
    before = host_state(host)
    port = record.facts.switch_port
    assert port is not None
    subprocess.run(["ovs-vsctl", "del-port", port], check=True)
    assert reconcile(host, dry_run=True).done == {
        record.id: f"do again: add port {port} to bridge {BRIDGE}"
    }
    reconcile(host)
    assert host_state(host) == before
    assert reconcile(host) == Report()
