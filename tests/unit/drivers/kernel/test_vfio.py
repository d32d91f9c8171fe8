"""VFs lent to programs by vfio-pci, on a sysfs tree with a small kernel behind its files."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel import vfio
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.kernel.vfio import Vfio
from smartvif.model.errors import Failed, NotFound, Refused, TimedOut
from smartvif.plug.steps.vf import VfioBinding
from smartvif.sim.nic import nic
from smartvif.sim.nic.nic import NicLayout
from smartvif.sim.nic.sysfs import PF_DRIVER, VF_DRIVER, write_sysfs
from tests.support.holds import holds
from tests.support.vfio import DOWN, ERRORS, MTU, NEIGHBOUR, NETDEV, PF, TAKEN, UP, VF, Died, Kernel


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A PF with two VFs, each bound to its own driver with a netdev that is down."""
    root = tmp_path / "sys"
    write_sysfs(NicLayout.parse("1x2"), root)
    made = Kernel(root)
    for number, address in enumerate((NEIGHBOUR, VF)):
        folder = made.devices / str(address)
        (folder / "net" / nic.vf_netdev(0, number) / "flags").write_text(f"{DOWN}\n")
        (folder / "enable").write_text("0\n")
    made.set_mtu(NETDEV, MTU)
    monkeypatch.setattr(vfio, "_write", made.write)
    return made


@pytest.fixture
def host(kernel: Kernel) -> Vfio:
    """The driver on that tree, without patience."""
    return Vfio(kernel.root, patience=0)


STEP = VfioBinding(vf=VF)


def drivers(kernel: Kernel) -> Drivers:
    return Drivers(links=cast(Links, kernel), vfio=Vfio(kernel.root, patience=0))


def attribute(kernel: Kernel, name: str, text: str, address: object = VF) -> None:
    (kernel.devices / str(address) / name).write_text(f"{text}\n")


def test_taking(kernel: Kernel, host: Vfio) -> None:
    """A VF goes from its driver to vfio-pci, reserved before it is free, and no longer than that.

    A newline ends the reservation: not a NUL, and not an empty write.
    """
    override = f"devices/{VF}/driver_override"
    neighbour = kernel.state()[str(NEIGHBOUR)]
    host.bind(VF)
    assert kernel.written == [
        (override, "vfio-pci"),
        (f"drivers/{VF_DRIVER}/unbind", str(VF)),
        ("drivers/vfio-pci/bind", str(VF)),
        (override, "\n"),
    ]
    assert kernel.state() == {str(VF): ("vfio-pci", "(null)\n", {}), str(NEIGHBOUR): neighbour}
    host.bind(VF)
    assert len(kernel.written) == TAKEN


def test_giving_back(kernel: Kernel, host: Vfio) -> None:
    """A VF comes back to its driver without an override."""
    before = kernel.state()
    host.bind(VF)
    kernel.written.clear()
    for _ in range(2):
        host.restore(VF, VF_DRIVER)
        assert kernel.written == [
            ("drivers/vfio-pci/unbind", str(VF)),
            (f"drivers/{VF_DRIVER}/bind", str(VF)),
        ]
    kernel.set_mtu(NETDEV, MTU)
    assert kernel.state() == before


def test_a_vf_without_a_driver(kernel: Kernel, host: Vfio) -> None:
    """A VF that no driver has is taken, and comes back to none."""
    kernel.unbind(str(VF), VF_DRIVER)
    before = kernel.state()
    host.bind(VF)
    assert kernel.driver(str(VF)) == "vfio-pci"
    for _ in range(2):
        host.restore(VF, None)
        assert kernel.state() == before


def test_a_vf_that_was_vfio_pcis(kernel: Kernel, host: Vfio) -> None:
    """A VF that an administrator gave to vfio-pci stays so, override and all."""
    host.bind(VF)
    attribute(kernel, "driver_override", "vfio-pci")
    kernel.written.clear()
    found = STEP.snapshot(drivers(kernel))
    STEP.do(drivers(kernel))
    assert holds(STEP, drivers(kernel))
    STEP.undo(drivers(kernel), found)
    assert kernel.written == []


def test_what_another_has_bound_since(kernel: Kernel, host: Vfio) -> None:
    """A VF that was given to another driver meanwhile is left to it."""
    host.bind(VF)
    kernel.unbind(str(VF), "vfio-pci")
    (kernel.drivers / "another").mkdir()
    (kernel.devices / str(VF) / "driver").symlink_to(kernel.drivers / "another")
    kernel.written.clear()
    for before in (VF_DRIVER, None):
        host.restore(VF, before)
    assert kernel.written == []


def test_a_vf_that_has_gone(kernel: Kernel, host: Vfio) -> None:
    """A VF that is no more has nothing to restore, and the step differs."""
    found = STEP.snapshot(drivers(kernel))
    host.bind(VF)
    (kernel.devices / str(VF)).unlink()
    STEP.undo(drivers(kernel), found)
    assert not holds(STEP, drivers(kernel))
    with pytest.raises(NotFound):
        STEP.snapshot(drivers(kernel))
    with pytest.raises(NotFound):
        STEP.do(drivers(kernel))


def unbound(kernel: Kernel) -> None:
    kernel.unbind(str(VF), VF_DRIVER)


def bound(kernel: Kernel) -> None:
    """As the fixture has it."""


def without(name: str, address: object = VF) -> Callable[[Kernel], None]:
    return lambda kernel: (kernel.devices / str(address) / name).unlink()


def with_other_devices(kernel: Kernel) -> None:
    group = kernel.devices / str(VF) / "iommu_group/devices"
    (group / "0000:00:1f.0").symlink_to("elsewhere")


def without_vfio(kernel: Kernel) -> None:
    (kernel.drivers / "vfio-pci").rmdir()


def up(kernel: Kernel) -> None:
    attribute(kernel, f"net/{NETDEV}/flags", UP)


def below_a_bridge(kernel: Kernel) -> None:
    (kernel.devices / str(VF) / "net" / NETDEV / "upper_br0").symlink_to("elsewhere")


def elsewhere(kernel: Kernel) -> None:
    """As sysfs is when a netdev is in another network namespace."""
    shutil.rmtree(kernel.devices / str(VF) / "net" / NETDEV)


def second_netdev_up(kernel: Kernel) -> None:
    kernel.add_netdev(str(VF), "z0")
    attribute(kernel, "net/z0/flags", UP)


def pinned(kernel: Kernel) -> None:
    attribute(kernel, "driver_override", VF_DRIVER)


def without_autoprobe(kernel: Kernel) -> None:
    attribute(kernel, "sriov_drivers_autoprobe", "0", PF)


@pytest.mark.parametrize(
    ("spoil", "words", "hint"),
    [
        (without("iommu_group"), "no IOMMU group", "intel_iommu=on"),
        (with_other_devices, "has also 0000:00:1f.0", "isolates"),
        (without_vfio, "vfio-pci is not loaded", "modprobe vfio-pci"),
        (up, f"'{NETDEV}' is not down", f"ip link set {NETDEV} down"),
        (second_netdev_up, "'z0' is not down", "ip link set z0 down"),
        (below_a_bridge, f"'{NETDEV}' is below br0", "bridge"),
        (elsewhere, "has no netdev here", "container"),
        (without("physfn"), "not a VF", "address of a VF"),
        (pinned, f"driver_override is {VF_DRIVER}", "driverctl"),
        (without_autoprobe, f"to {VF_DRIVER} again", "sriov_drivers_autoprobe"),
    ],
)
def test_what_is_refused(
    spoil: Callable[[Kernel], None], words: str, hint: str, kernel: Kernel, host: Vfio
) -> None:
    """A VF that something uses, or that no program could have, is left as it is."""
    spoil(kernel)
    before = kernel.state()
    with pytest.raises(Refused, match=words) as caught:
        host.bind(VF)
    assert hint in caught.value.hint
    assert str(VF) in caught.value.where
    assert (kernel.state(), kernel.written) == (before, [])


def test_a_pf_is_refused(kernel: Kernel, host: Vfio) -> None:
    """A PF is never taken from its driver: all of its VFs would go."""
    with pytest.raises(Refused, match="it is a PF"):
        host.bind(PF)
    host.restore(PF, "vfio-pci")
    host.restore(PF, None)
    assert kernel.written == []
    assert kernel.driver(str(PF)) == PF_DRIVER


@pytest.mark.parametrize(
    ("driver", "spoil", "words"),
    [
        (VF_DRIVER, without_autoprobe, "again"),
        ("gone", bound, "gone is not loaded"),
        ("../../devices", bound, "is not loaded"),
    ],
)
def test_a_driver_that_cannot_have_it(
    driver: str, spoil: Callable[[Kernel], None], words: str, kernel: Kernel, host: Vfio
) -> None:
    """A VF that its driver could not get stays where it is; a driver is one that is there."""
    host.bind(VF)
    spoil(kernel)
    kernel.written.clear()
    with pytest.raises(Refused, match=words) as caught:
        host.restore(VF, driver)
    assert caught.value.hint
    assert kernel.written == []


def test_a_driver_of_other_devices(kernel: Kernel, host: Vfio) -> None:
    """The kernel does not give the VF to a driver that does not know it, and nor do we."""
    (kernel.drivers / "nvme").mkdir()
    host.bind(VF)
    with pytest.raises(Failed, match="No such device"):
        host.restore(VF, "nvme")
    assert kernel.driver(str(VF)) is None


def test_a_vf_that_is_open(kernel: Kernel, host: Vfio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VF is awaited while a program has it open, but not without end: the kernel would."""
    host.bind(VF)
    kernel.written.clear()
    attribute(kernel, "enable", "1")
    with pytest.raises(TimedOut, match="open"):
        host.restore(VF, VF_DRIVER)
    assert kernel.written == []
    monkeypatch.setattr(vfio, "sleep", lambda _: attribute(kernel, "enable", "0"))
    Vfio(kernel.root, patience=3600).restore(VF, VF_DRIVER)
    assert kernel.driver(str(VF)) == VF_DRIVER


def test_a_kernel_that_says_yes(kernel: Kernel, host: Vfio) -> None:
    """A VF that is not bound after a write that succeeded is an error."""
    kernel.mute = True
    with pytest.raises(Failed, match="its driver is none after that"):
        host.bind(VF)


@pytest.mark.parametrize("code", ERRORS)
def test_the_kernels_words(code: int, kernel: Kernel, host: Vfio) -> None:
    """They are passed on, with what was tried, the file, and what to do."""
    kernel.fails = {2: code}
    with pytest.raises(Failed, match=f"giving VF {VF} to vfio-pci: {os.strerror(code)}") as caught:
        host.bind(VF)
    assert caught.value.where.endswith("drivers/vfio-pci/bind")
    assert ("root" in caught.value.hint) is (code == errno.EACCES)
    assert kernel.written[-1] == (f"devices/{VF}/driver_override", "\n")


def test_the_real_write(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write to a file that is there: none is made, and an error is the kernel's."""
    monkeypatch.undo()
    there = tmp_path / "there"
    there.touch()
    vfio._write(str(there), "\n")
    assert there.read_bytes() == b"\n"
    with pytest.raises(FileNotFoundError):
        vfio._write(str(tmp_path / "absent"), "\n")
    with pytest.raises(Failed, match="No such file"):
        Vfio(kernel.root).bind(VF)


@pytest.mark.parametrize("before", [bound, unbound])
@pytest.mark.parametrize("renamed", [False, True])
def test_the_step(before: Callable[[Kernel], None], renamed: bool, kernel: Kernel) -> None:
    """The VF is vfio-pci's while it is plugged; then driver, netdev and MTU are back."""
    before(kernel)
    if renamed:
        kernel.new_netdev = "eth0"
    state, there = kernel.state(), drivers(kernel)
    found = STEP.snapshot(there)
    assert not holds(STEP, there)
    for _ in range(2):
        STEP.do(there)
        assert holds(STEP, there)
    for _ in range(2):
        STEP.undo(there, found)
        wanted = str(state).replace(f"'{NETDEV}'", "'eth0'") if renamed else str(state)
        assert str(kernel.state()) == wanted


def test_a_netdev_that_comes_later(kernel: Kernel) -> None:
    """A driver that makes its netdev later has the VF all the same."""
    kernel.new_netdev = None
    there = drivers(kernel)
    found = STEP.snapshot(there)
    STEP.do(there)
    STEP.undo(there, found)
    assert kernel.driver(str(VF)) == VF_DRIVER


def test_a_netdev_that_is_renamed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A netdev that gets another name between two looks at it is no error."""
    there = drivers(kernel)
    found = STEP.snapshot(there)
    STEP.do(there)

    def lost(name: str, mtu: int) -> None:
        raise NotFound(f"setting the MTU of link '{name}' to {mtu}: there is no such link")

    monkeypatch.setattr(kernel, "set_mtu", lost)
    STEP.undo(there, found)
    assert kernel.driver(str(VF)) == VF_DRIVER


def interrupt(kernel: Kernel, number: int, code: int | None) -> None:
    """Have the write of that number fail, or without a code the process die after it."""
    kernel.reborn()
    if code is None:
        kernel.last = number
    else:
        kernel.fails = {number: code}


def interrupted(act: Callable[[], None]) -> bool:
    try:
        act()
    except (Failed, Died):
        return True
    return False


@pytest.mark.parametrize("before", [bound, unbound])
@pytest.mark.parametrize("code", [*ERRORS, None])
@pytest.mark.parametrize("number", range(TAKEN))
def test_a_step_that_ends_anywhere(
    number: int, code: int | None, before: Callable[[Kernel], None], kernel: Kernel
) -> None:
    """Whichever write fails, or is the last of the process, the VF is then put back as it was."""
    before(kernel)
    state, there = kernel.state(), drivers(kernel)
    found = STEP.snapshot(there)
    interrupt(kernel, number, code)
    ended = interrupted(lambda: STEP.do(there))
    assert ended is (number < (TAKEN if before is bound else TAKEN - 1))
    kernel.reborn()
    for _ in range(2):
        STEP.undo(there, found)
        assert kernel.state() == state


@pytest.mark.parametrize("before", [bound, unbound])
@pytest.mark.parametrize("code", [*ERRORS, None])
@pytest.mark.parametrize("first", range(TAKEN))
@pytest.mark.parametrize("second", range(TAKEN))
def test_an_undo_that_ends_anywhere(
    second: int, first: int, code: int | None, before: Callable[[Kernel], None], kernel: Kernel
) -> None:
    """Undone a second time, after both ended in between, the VF is as it was too."""
    before(kernel)
    state, there = kernel.state(), drivers(kernel)
    found = STEP.snapshot(there)
    interrupt(kernel, first, None)
    interrupted(lambda: STEP.do(there))
    interrupt(kernel, second, code)
    interrupted(lambda: STEP.undo(there, found))
    kernel.reborn()
    STEP.undo(there, found)
    assert kernel.state() == state
