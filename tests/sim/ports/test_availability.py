"""Which VFs are free: every command has the same answer, whoever uses a VF."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from smartvif.context import settings
from smartvif.guest.connection import Connection
from smartvif.sim.testing import on_simulated_host, settled
from tests.support.claims import ASK
from tests.support.commands import attach, document, refused, smartvif

NAMESPACE = "its driver smartvif_sim_vf has it and its netdev is in another network namespace"
DOMAIN = """\
<domain type='qemu'>
  <name>scanner</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x04' slot='0x00' function='0x3'/></source>
    </hostdev>
  </devices>
</domain>
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def bridge(name: str, port: str) -> None:
    """Add a bridge with this port, for somebody else."""
    added = "add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev"
    run("ovs-vsctl", "--timeout=5", *added, "--", "add-port", name, port)


def vf(number: int) -> str:
    return f"0000:04:00.{number}"


def bind(number: int) -> str:
    """Have /sys show a VF on vfio-pci, without a netdev; its IOMMU group."""
    folder = Path(f"/sys/bus/pci/devices/{vf(number)}").resolve()
    run("ip", "link", "del", f"p0v{number}")
    settled()
    (folder / "driver").unlink()
    (folder / "driver").symlink_to("../../../bus/pci/drivers/vfio-pci")
    return (folder / "iommu_group").readlink().name


def free() -> list[str]:
    """The VFs that are free, by every command alike."""
    (listed,) = document("nic", "list")["pfs"]
    (drawn,) = document("map")["pfs"]
    pools = document("nic", "capabilities")["pools"]
    held = {address: why for pool in pools for address, why in pool["held"].items()}
    assert {each["address"]: each["held"] for each in listed["vfs"] if not each["free"]} == held
    assert drawn["free_vfs"] == len(listed["vfs"]) - len(held)
    return [each["address"] for each in listed["vfs"] if each["free"]]


def why_not(number: int) -> str:
    """What ``nic list`` says of a VF, which ``attach`` refuses with, too."""
    (listed,) = document("nic", "list")["pfs"]
    why = str(listed["vfs"][number]["held"])
    answer = smartvif(*ASK, "--vf", vf(number))
    refused(answer, 4, "cannot be used")
    assert f"VF {vf(number)} cannot be used: {why}\n" in answer.err
    return why


@on_simulated_host("1x6", guests=1)
def test_users_that_are_not_ports() -> None:
    """A namespace, a process, a machine and a bridge have a VF; one on vfio-pci only is free."""
    run("ip", "netns", "add", "box")
    run("ip", "link", "set", "p0v0", "netns", "box")
    group = bind(1)
    bind(2)
    Connection(settings.load().libvirt.uri).open().defineXML(DOMAIN)
    bridge("br-ext", "p0r4")
    settled()
    node = Path("/run/vfio") / group
    node.parent.mkdir()
    with node.open("w"):
        assert free() == [vf(2), vf(5)]
        assert why_not(0) == NAMESPACE
        assert why_not(1) == f"in use by {comm()} {os.getpid()}, which has /dev/vfio/{group} open"
        assert why_not(3) == "in use by virtual machine scanner"
        assert why_not(4) == "in use by bridge br-ext, where its representor is"
    assert free() == [vf(1), vf(2), vf(5)]
    table = smartvif("nic", "list", env={"NO_COLOR": "1"})
    assert (table.code, table.err) == (0, "")
    assert NAMESPACE in " ".join(table.out.split())

    explained = smartvif(*ASK, "--vf", vf(5), "--explain")
    assert f"{vf(0)}  {NAMESPACE}\n" in explained.err
    assert free() == [vf(1), vf(2)]
    run("ip", "-n", "box", "link", "set", "p0v0", "netns", str(os.getpid()))
    settled()
    assert attach("vm1", "direct")["vf"] == vf(0)


def comm() -> str:
    return Path("/proc/self/comm").read_text().strip()


@on_simulated_host("1x2", guests=1)
def test_an_uplink_in_a_bridge() -> None:
    """The VFs of a PF whose uplink is in a bridge are free, as on every host with VLANs."""
    bridge("br-phy", "p0")
    assert free() == [vf(0), vf(1)]
    assert attach("vm1", "direct")["vf"] == vf(0)
