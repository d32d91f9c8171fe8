"""The privileged daemons of the os-vif plugins: what they may do, and what they do alone."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from oslo_config import cfg

from smartvif.drivers.kernel.vfio import Vfio
from smartvif.host.vf_info import NO_MAC, VfAdmin
from smartvif.model.errors import Failed, Invalid, NotFound, Refused
from smartvif.sim.host import FORWARDER_NETNS
from smartvif.sim.nic import nic
from tests.support.agilio_ovs import (
    CONFIG,
    MAC,
    MTU,
    ONE,
    OTHER,
    forwarder_vif,
    on_host,
    plug,
    start_forwarder,
    unplug,
    vif,
)
from tests.support.checkout import CHECKOUT

FILTERS = CHECKOUT / "packaging" / "rootwrap.d"
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21  # include/uapi/linux/capability.h


@on_host
def test_capabilities_of_the_daemon() -> None:
    """Each daemon has the capabilities it needs and no other, and is not there before it is used.

    Only a port behind the forwarder needs the one that may enter namespaces.
    """
    from smartvif.openstack.privileged import PrivilegedPortFiles

    start_forwarder()
    assert daemons() == {}
    for directory in ("/run/nowhere", CONFIG):
        PrivilegedPortFiles(Path(directory)).remove(ONE)
    for obj in (vif("normal", vf=None, ovs_create_tap=True), forwarder_vif()):
        unplug(obj)
    assert daemons() == {}
    plug(vif("normal", OTHER, vf=None, ovs_create_tap=True))
    links_only = {"privileged": capabilities(CAP_NET_ADMIN)}
    assert daemons() == links_only
    plug(forwarder_vif())
    entering = capabilities(CAP_NET_ADMIN, CAP_SYS_ADMIN)
    assert daemons() == links_only | {"privileged_netns": entering}


def capabilities(*numbers: int) -> dict[str, int]:
    """A process with these in effect and none to hand on, as its status in /proc has it."""
    wanted = sum(1 << number for number in numbers)
    return {"CapEff": wanted, "CapPrm": wanted, "CapInh": 0, "CapAmb": 0}


def daemons() -> dict[str, dict[str, int]]:
    """The capabilities of our privileged daemons, by the module of each."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        command = (process / "cmdline").read_bytes().decode()
        if context := re.search(r"smartvif\.openstack\.(\w+)\.context", command):
            assert context[1] not in found
            status = dict(re.findall(r"(Cap\w+):\s+(\w+)", (process / "status").read_text()))
            kinds = ("CapEff", "CapPrm", "CapInh", "CapAmb")
            found[context[1]] = {kind: int(status[kind], 16) for kind in kinds}
    return found


@on_host
def test_the_namespace_is_the_configurations() -> None:
    """The daemon enters the namespace that its own configuration names, whatever it is told."""
    from smartvif.openstack import privileged_netns

    group = "os_vif_agilio_ovs"
    for name in (FORWARDER_NETNS, "another"):
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "add", name, "type", "bridge"], check=True)
    inside = privileged_netns.PrivsepNamespaceLinks(group)
    cfg.CONF.set_override("forwarder_netns", "another", group=group)
    assert inside.get(FORWARDER_NETNS) is not None
    assert inside.get("another") is None
    with pytest.raises(NotFound, match="no such link"):
        inside.set_up("absent", mtu=MTU)
    with pytest.raises(NotFound, match="no such link"):
        inside.move("absent", None)
    refused: list[Callable[[], object]] = [
        lambda: inside.set_up(FORWARDER_NETNS, mtu=1 << 20),
        lambda: inside.set_up("a name that is too long", mtu=MTU),
        lambda: inside.get("../lo"),
        lambda: inside.move("a name that is too long", None),
        lambda: privileged_netns.PrivsepNamespaceLinks("DEFAULT").get("lo"),
    ]
    for act in refused:
        with pytest.raises(Invalid):
            act()
    with pytest.raises(Failed, match=r"knows no forwarder_netns in \[os_vif_vrouter\]"):
        privileged_netns.PrivsepNamespaceLinks("os_vif_vrouter").get("lo")
    channel = privileged_netns.context.channel
    for name in ("os.getpid", "smartvif.openstack.privileged._delete"):
        with pytest.raises(Exception, match="not exported"):
            channel.remote_call(name, ("lo",), {}, 5)


def test_rootwrap() -> None:
    """The packaged filters let root start the helper for each of our contexts, and nothing else."""
    from oslo_privsep.priv_context import PrivContext
    from oslo_rootwrap import wrapper

    import smartvif.openstack

    # The last one is rootwrap's own, of the versions that let every helper be started.
    filters = wrapper.load_filters([str(FILTERS)])[:2]
    modules = pkgutil.iter_modules(smartvif.openstack.__path__, "smartvif.openstack.")
    found = {
        f"{module.name}.{name}"
        for module in modules
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, PrivContext)
    }
    entries = re.findall("^[^#\\[\n]+", FILTERS.joinpath("smartvif.filters").read_text(), re.M)
    assert len(found) == len(filters) == len(entries)
    start = ["privsep-helper", "--config-file", "/etc/nova/nova.conf", "--privsep_context"]
    end = ["--privsep_sock_path", "/tmp/tmpabc/privsep.sock"]  # noqa: S108
    for context in found:
        assert [each.match([*start, context, *end]) for each in filters].count(True) == 1
    for other in ("os.path", "smartvif.openstack.privileged.context.x"):
        assert not any(each.match([*start, other, *end]) for each in filters)


@on_host
def test_errors_of_the_daemon() -> None:
    """What the kernel or a check says in the daemon comes out of it whole, as the same class."""
    from smartvif.openstack import privileged

    host = privileged.PrivsepLinks()
    with pytest.raises(NotFound) as absent:
        host.set_up("absent")
    assert (absent.value.what, absent.value.where) == (
        "bringing link 'absent' up: there is no such link",
        "kernel",
    )
    with pytest.raises(Invalid) as refused:
        host.set_up("a name that is too long")
    assert refused.value.hint
    with pytest.raises(Invalid, match="not the name of a network namespace"):
        host.move("p0v1", "../../proc/1/ns/net")
    with pytest.raises(Exception, match="not exported"):
        privileged.context.channel.remote_call("os.getpid", (), {}, 5)


@on_host
def test_vfs_by_the_daemon() -> None:
    """The daemon takes VFs and sets them, checks what it is told, and its errors come out whole.

    The simulated card's files make no driver act: the first that is not there ends it.
    """
    from smartvif.openstack import privileged

    vfs, host = privileged.PrivilegedVfio(), privileged.PrivsepLinks()
    with pytest.raises(Refused, match="it is a PF") as refused:
        vfs.bind(nic.pf_address(0))
    assert refused.value.hint
    address = nic.vf_address(0, 1)
    Path(f"/sys/bus/pci/devices/{address}/net/p0v1/flags").write_text("0x1002\n")
    with pytest.raises(Failed, match=f"taking VF {address} from smartvif_sim_vf: No such file"):
        vfs.bind(address)
    Path(f"/sys/bus/pci/devices/{address}/driver").unlink()
    with pytest.raises(Refused, match="nvme is not loaded"):
        vfs.restore(address, "nvme")
    for wanted in (
        VfAdmin(mac="01:00:00:00:00:01"),
        VfAdmin(mac=MAC, vlan=4095),
        VfAdmin(mac=MAC, qos=8),
    ):
        with pytest.raises(Invalid):
            host.set_vf_admin("lo", 0, wanted)
    for mac in (MAC, NO_MAC):
        with pytest.raises(NotFound, match="'lo' has no VF 0"):
            host.set_vf_admin("lo", 0, VfAdmin(mac=mac, vlan=5, qos=7, trusted=True))
    with pytest.raises(Invalid):
        host.set_vf_admin("../lo", 0, VfAdmin(mac=MAC))
    for entry in (privileged._take_vf, lambda vf: privileged._give_back_vf(vf, None)):
        with pytest.raises(Invalid, match="not a PCI address"), privileged._asked():
            entry(f"../{address}")


def test_every_change_is_the_daemons() -> None:
    """No call that changes a VF is left to the service itself; of links the type checker tells."""
    from smartvif.openstack.privileged import PrivilegedVfio

    public = {name for name in vars(Vfio) if not name.startswith("_")}
    assert public - vars(PrivilegedVfio).keys() == {"read"}
