"""The list of VFs and the map count the same VFs as free."""

from __future__ import annotations

from pathlib import Path

from smartvif.cli.map_tree import tree
from smartvif.host import sriov
from smartvif.host.representors import Representors
from smartvif.model.known import Absent, Known, Present, Unknown
from smartvif.model.pci import PciAddress
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs
from smartvif.status import nics
from smartvif.status.map import build_map


def test_free_held_and_unknown(tmp_path: Path) -> None:
    """A VF is free, held with a reason, or unknown; the map counts each as the list has it."""
    write_sysfs(nic.NicLayout(pfs=1, vfs=4), tmp_path)
    pfs = sriov.pfs(tmp_path)
    first, second, third, fourth = (vf.address for vf in pfs[0].vfs)
    obstacles: dict[PciAddress, Known[str]] = {
        first: Absent(),
        second: Present("in use by bridge br-ext, where its representor is"),
        third: Unknown("not every process shows here what it has open"),
    }
    (view,) = nics.views(pfs, Representors(tmp_path), {fourth: "p"}, obstacles)
    listed = {vf["address"]: (vf["free"], vf["held"]) for vf in view.as_json()["vfs"]}
    unsure = "unknown whether it is in use: "
    assert listed == {
        str(first): (True, None),
        str(second): (False, "in use by bridge br-ext, where its representor is"),
        str(third): (None, f"{unsure}not every process shows here what it has open"),
        str(fourth): (None, f"{unsure}it was not read"),
    }
    drawn = build_map([view], [])
    (pf,) = drawn.as_json()["pfs"]
    assert (pf["vfs"], pf["free_vfs"], pf["unknown_vfs"]) == (4, 1, 2)
    (branch,) = tree(drawn).children
    assert "1 of 4 VFs free, 2 unknown" in str(branch.label)
