"""Unmodified os-vif finds in the simulated card what our own look-ups find.

Run as a program, this file is the part that goes into the namespaces.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from smartvif.model.errors import Failed
from smartvif.sim.nic import nic
from smartvif.sim.nic.sysfs import write_sysfs
from smartvif.sim.process import namespaces

# Of the largest every 16th VF: os-vif reads all interfaces for each.
LAYOUTS = {"1x1": 1, "8x16": 1, "2x128": 1, "1x256": 1, "4x256": 16}

SCRATCH = Path("/mnt")


def look_up(layout: nic.NicLayout, step: int) -> list[dict[str, object]]:
    """What both find for every ``step``-th VF in /sys."""
    from vif_plug_ovs import linux_net

    from smartvif.host import sriov
    from smartvif.host.representors import Representors

    representors = Representors()
    pfs = {pf.address: pf for pf in sriov.pfs()}
    cases: list[dict[str, object]] = []
    for number, (pf, vf) in enumerate(layout.functions()):
        if number % step:
            continue
        address = nic.vf_address(pf, vf)
        ours = sriov.vf(address)
        name = str(address)
        uplink = linux_net.get_ifname_by_pci_address(name, pf_interface=True, switchdev=True)
        vf_number = linux_net.get_vf_num_by_pci_address(name)
        theirs = [
            linux_net.get_ifname_by_pci_address(name),
            uplink,
            int(vf_number),
            linux_net.get_representor_port(uplink, vf_number),
            linux_net.get_pf_pci_from_vf(name),
        ]
        found = representors.find(ours).netdev
        cases.append(
            {
                "address": name,
                "layout": [nic.vf_netdev(pf, vf), nic.uplink(pf), vf, nic.representor(pf, vf)],
                "ours": [ours.netdev, pfs[ours.pf].netdev, ours.number, found, str(ours.pf)],
                "theirs": theirs,
            }
        )
    return cases


def inside() -> int:
    """Make the card's interfaces once, and look in the tree of one layout after the other."""
    namespaces.mount("none", "/run", kind="tmpfs")
    nic.create(nic.NicLayout.parse("4x256"))
    folder, answers = scratch(), {}
    for text, step in LAYOUTS.items():
        layout = nic.NicLayout.parse(text)
        write_sysfs(layout, folder / text)
        namespaces.bind(folder / text, "/sys")
        answers[text] = look_up(layout, step)
    json.dump(answers, sys.stdout)
    return 0


def refused() -> int:
    """Make a card where its names are taken, first one that is seen and then one that is not."""
    from pyroute2 import IPRoute

    namespaces.mount("none", "/run", kind="tmpfs")
    layout, answers = nic.NicLayout.parse("1x2"), []
    for name, alias in (("p0r1", None), ("lo0", "p0r1")):
        with IPRoute() as kernel:
            kernel.link("add", ifname=name, kind="veth", peer={"ifname": "far"})
            index = kernel.link_lookup(ifname=name)[0]
            if alias:
                kernel.link("property_add", index=index, altname=alias)
            try:
                nic.create(layout)
            except Failed as error:
                answers.append(str(error))
            kernel.link("del", index=index)
    json.dump(answers, sys.stdout)
    return 0


def made() -> int:
    """Make a card and say what the kernel then has of each of its interfaces."""
    from pyroute2 import IPRoute

    namespaces.mount("none", "/run", kind="tmpfs")
    layout = nic.NicLayout.parse("2x3")
    nic.create(layout)
    write_sysfs(layout, scratch())
    with IPRoute() as kernel, IPRoute(netns=nic.NETNS) as inside:
        links = {link["index"]: link for link in kernel.get_links()}
        inner = {link["index"]: link for link in inside.get_links()}
    answers = {
        link.get_attr("IFLA_IFNAME"): {
            "mac": link.get_attr("IFLA_ADDRESS"),
            "mtu": link.get_attr("IFLA_MTU"),
            "peer": [place[link.get_attr("IFLA_LINK")].get_attr("IFLA_IFNAME"), place is inner],
            "ifindex": index,
        }
        for index, link in links.items()
        if link.get_attr("IFLA_LINK")
        for place in [links if link.get_attr("IFLA_LINK_NETNSID") is None else inner]
    }
    shown = {
        path.parent.name: int(path.read_text()) for path in SCRATCH.glob("class/net/*/ifindex")
    }
    ipv6 = Path("/proc/sys/net/ipv6/conf/p0v0/disable_ipv6")
    on = ipv6.exists() and ipv6.read_text() == "0\n"
    json.dump({"kernel": answers, "sysfs": shown, "ipv6": on}, sys.stdout)
    return 0


def scratch() -> Path:
    """An empty directory that goes with the namespaces."""
    namespaces.mount("none", str(SCRATCH), kind="tmpfs")
    return SCRATCH


def in_namespaces(part: str) -> object:
    """What a part of this file says in namespaces of its own."""
    run = subprocess.run(
        [sys.executable, __file__, part], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_os_vif_finds_the_same() -> None:
    """os-vif finds the VF's interface, uplink, number, representor and PF that we find."""
    if importlib.util.find_spec("vif_plug_ovs") is None:
        pytest.skip("os-vif is not installed")
    answers = in_namespaces("inside")
    assert isinstance(answers, dict)
    assert {text: len(cases) for text, cases in answers.items()} == {
        "1x1": 1,
        "8x16": 128,
        "2x128": 256,
        "1x256": 256,
        "4x256": 64,
    }
    for text, cases in answers.items():
        for case in cases:
            assert case["ours"] == case["theirs"], (text, case)
            assert case["ours"][:4] == case["layout"], (text, case)


def test_interfaces_of_a_card() -> None:
    """A card's interfaces are ends of veth pairs, without IPv6, with the layout's MAC addresses.

    Those of VFs and representors have their other ends inside the card, by the same names.
    """
    answers = in_namespaces("made")
    assert isinstance(answers, dict)
    pairs = [(nic.uplink(pf), nic.wire(pf)) for pf in range(2)]
    peers = {one: [other, False] for pair in pairs for one, other in (pair, pair[::-1])}
    for pf, vf in ((pf, vf) for pf in range(2) for vf in range(3)):
        for name in (nic.vf_netdev(pf, vf), nic.representor(pf, vf)):
            peers[name] = [name, True]
    assert {name: link["peer"] for name, link in answers["kernel"].items()} == peers
    for name, link in answers["kernel"].items():
        assert (link["mac"], link["mtu"]) == (nic.mac(name), 1500)
        if name not in {nic.wire(0), nic.wire(1)}:
            assert answers["sysfs"][name] == link["ifindex"]
    assert answers["ipv6"] is False


def test_names_that_are_taken() -> None:
    """A card is refused where one of its names is taken, in the kernel's words if need be."""
    answers = in_namespaces("refused")
    assert isinstance(answers, list)
    assert ["p0r1 is there already" in answers[0], "File exists" in answers[1]] == [True, True]


if __name__ == "__main__":
    sys.exit(namespaces.run({"inside": inside, "made": made, "refused": refused}[sys.argv[1]]))
