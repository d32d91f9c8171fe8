"""The command line on a simulated host: what it answers, and what it refuses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartvif.demo.demo import host_state
from smartvif.sim.guest import image, libvirtd
from smartvif.sim.guest.guests import domain_xml
from smartvif.sim.host import BRIDGE, CONFIG, LIBVIRT, OPENVSWITCH, STATE, host_switch
from smartvif.sim.testing import on_simulated_host
from tests.support.commands import MODES, attach, document, guests, host, refused, smartvif
from tests.support.documents import (
    PORT_KEYS,
    SIMULATED,
    check_map,
    check_nic_list,
    check_ports,
    check_show,
    check_tables,
)
from tests.support.facts import port_facts

MAC = "52:54:00:00:00:aa"


def ask(**changed: str | None) -> list[str]:
    """``attach`` with good values but for those given; None leaves one away."""
    asked = {"vm": "vm1", "mode": "normal", "bridge": BRIDGE, **changed}
    options = [(f"--{name}", value) for name, value in asked.items() if value is not None]
    return ["attach", *(word for option in options for word in option)]


BAD_INPUT: list[tuple[list[str], int, str]] = [
    (ask(vm="vm9"), 1, "no virtual machine is called 'vm9'"),
    (ask(vm=""), 1, "no virtual machine is called ''"),
    (ask(vm=None), 2, "Missing option '--vm'"),
    (ask(bridge="br-none"), 1, "there is no bridge 'br-none'"),
    (ask(bridge="sixteen-letters-"), 2, "not a network interface name"),
    (ask(bridge=""), 2, "not a network interface name"),
    (ask(mode="macvtap"), 2, "'macvtap' is not one of"),
    (ask(vlan="0"), 2, "0 is not a VLAN"),
    (ask(vlan="4095"), 2, "4095 is not a VLAN"),
    (ask(vlan="-1"), 2, "-1 is not a VLAN"),
    (ask(vlan="abc"), 2, "'abc' is not a valid integer"),
    (ask(mtu="67"), 2, "67 is not an MTU"),
    (ask(mtu="65536"), 2, "65536 is not an MTU"),
    (ask(mtu="9k"), 2, "'9k' is not a valid integer"),
    (ask(mac="525400123456"), 2, "not a MAC address"),
    (ask(mac=""), 2, "not a MAC address"),
    (ask(mac="01:00:5e:00:00:01"), 2, "multicast"),
    (ask(mac="ff:ff:ff:ff:ff:ff"), 2, "multicast"),
    (ask(mac="00:00:00:00:00:00"), 2, "all zero"),
    (ask(mac=MAC), 4, f"MAC address {MAC} already"),
    (ask(mac=MAC.upper(), mode="direct"), 4, "already"),
    (ask(mode="direct", vf="04:00.1"), 2, "not a PCI address"),
    (ask(mode="direct", vf="0000:04:00.8"), 2, "not a PCI address"),
    (ask(mode="direct", vf=""), 2, "not a PCI address"),
    (ask(mode="direct", vf="0000:04:1f.7"), 1, "there is no VF 0000:04:1f.7"),
    (ask(mode="direct", vf="0000:03:00.0"), 1, "there is no VF 0000:03:00.0"),
    (ask(mode="direct", vf="0000:04:00.0"), 4, "in use by port"),
    (ask(mode="virtio-forwarder", vf="0000:04:00.0"), 4, "in use by port"),
    (ask(mode="direct", pf="p7"), 1, "there is no PF 'p7'"),
    (ask(mode="direct", pf="p0wire"), 1, "there is no PF 'p0wire'"),
    (ask(mode="direct", pf=""), 1, "there is no PF ''"),
    (ask(vf="0000:04:00.1"), 2, "mode normal takes no VF"),
    (ask(pf="p0"), 2, "mode normal takes no VF"),
    (ask(vm="private", mode="virtio-forwarder"), 4, "memory is not shared"),
    (["detach", "nosuch"], 1, "there is no port 'nosuch'"),
    (["detach", ""], 1, "there is no port ''"),
    (["detach"], 2, "Missing argument 'PORT'"),
    (["detach", "twin"], 3, "several ports begin with 'twin'"),
    (["show", "nosuch"], 1, "there is no port 'nosuch'"),
    (["show", "twin"], 3, "several ports begin with 'twin'"),
    (["ports", "-f", "xml"], 2, "'xml' is not one of"),
    (["plug"], 2, "No such command 'plug'"),
    (["attach", "--wrong"], 2, "No such option"),
]
"""What is asked, the exit code, and what the error says. VF 0000:04:00.0 and MAC are taken."""
GOOD_CONFIG = f"""\
[openvswitch]
database = "unix:{OPENVSWITCH}/db.sock"
[state]
directory = "{STATE}"
"""
BAD_CONFIG: list[tuple[bytes, int, str]] = [
    (b"[openvswitch\n", 2, "cannot read the configuration"),
    (b"\xff\xfe", 2, "cannot read the configuration"),
    (b"[openvswich]\n", 2, "unknown section: 'openvswich'"),
    (b"[state]\ndir = '/tmp'\n", 2, r"unknown key in \[state\]: 'dir'"),
    (b"state = 1\n", 2, "'state' must be a section"),
    (b"[openvswitch]\ntimeout = '1'\n", 2, "timeout in .* must be a number"),
    (b"[libvirt]\nuri = true\n", 2, "uri in .* must be a string"),
    (b"[openvswitch]\ndatabase = 'db.sock'\n", 2, "'db.sock' is not an OVSDB address"),
    (b"[openvswitch]\ndatabase = 'unix:/run/none'\n", 3, "cannot connect"),
    (GOOD_CONFIG.encode() + b"[libvirt]\nuri = 'qemu:///none'\n", 3, "libvirt does not answer"),
]
"""A configuration, and the exit code and the words of an ``attach`` under it."""


@on_simulated_host(guests=1)
def test_bad_input_is_one_error_and_changes_nothing() -> None:
    """Every line of the tables gives its one error and its exit code, and leaves all as it was."""
    attach("vm1", "direct", "--mac", MAC)
    define_private("private")
    journal = host().journal
    for twin in ("twin-1", "twin-2"):
        journal.begin(twin, port_facts())
    before = host_state(host())
    for words, code, what in BAD_INPUT:
        refused(smartvif(*words), code, re.escape(what))
        assert host_state(host()) == before, words
    config = CONFIG.with_name("other.toml")
    for text, code, what in BAD_CONFIG:
        config.write_bytes(text)
        refused(smartvif(*ask(), env={"SMARTVIF_CONFIG": str(config)}), code, what)
        assert host_state(host()) == before, text
    refused(smartvif("ports", env={"SMARTVIF_CONFIG": "/none"}), 2, "cannot read")
    refused(
        smartvif("ports", env={"SMARTVIF_STATE_DIR": "/proc/none"}), 3, "cannot use the journal"
    )
    # Without a forwarder there is no virtio-forwarder mode.
    config.write_text(GOOD_CONFIG)
    asked = smartvif(*ask(mode="virtio-forwarder"), env={"SMARTVIF_CONFIG": str(config)})
    refused(asked, 3, "no forwarder is configured")
    assert host_state(host()) == before


def define_private(name: str) -> None:
    """A stopped machine whose memory is its own."""
    run = Path("/run")
    text = domain_xml(name, image.ensure(), log=run / f"{name}.log", agent=run / f"{name}.agent")
    description = run / f"{name}.xml"
    description.write_text(re.sub("<memoryBacking>.*</memoryBacking>", "", text))
    virsh("define", str(description))


def virsh(*words: str) -> None:
    """Run virsh on the host's libvirt."""
    uri = os.environ["LIBVIRT_DEFAULT_URI"]
    subprocess.run(["virsh", "-q", "-c", uri, *words], check=True, capture_output=True)


@on_simulated_host(guests=1)
def test_who_does_not_answer_is_named_and_nothing_is_lost() -> None:
    """OVS or libvirt down: the state is unknown; when it is back all works as before."""
    port = attach("vm1", "direct")["id"]
    before = host_state(host())
    with_down_database(lambda: refused(smartvif(*ask()), 3, "cannot connect"))
    with_down_database(lambda: undecided([document("show", port, code=3)]))
    with_down_database(lambda: undecided(document("ports", code=3)["ports"]))
    with_down_libvirt(lambda: refused(smartvif(*ask()), 3, "libvirt does not answer"))
    with_down_libvirt(lambda: refused(smartvif("show", port), 3, "libvirt does not answer"))
    assert host_state(host()) == before
    assert document("ports")["ports"][0]["health"] == "ok"

    with_down_libvirt(lambda: refused(smartvif("detach", port), 1, "cannot undo"))
    with_down_database(lambda: refused(smartvif("detach", port), 1, "cannot undo"))
    assert document("ports", code=1)["ports"][0]["status"] == "unplugging"
    assert document("detach", port)["id"] == port
    assert document("ports")["ports"] == []


def undecided(ports: list[dict[str, Any]]) -> None:
    """Of no port is it said that it works or that it does not."""
    assert [port["working"] for port in ports] == [None]
    assert ports[0]["health"].startswith("unknown: ")


def with_down_database(act: Callable[[], None]) -> None:
    """Act while the host's ovsdb-server is not there."""
    os.kill(int((OPENVSWITCH / "ovsdb-server.pid").read_text()), signal.SIGKILL)
    (OPENVSWITCH / "db.sock").unlink()
    act()
    host_switch().start_database()


def with_down_libvirt(act: Callable[[], None]) -> None:
    """Act while libvirtd is not there."""
    pid_file = LIBVIRT / "run" / "libvirt" / "libvirtd.pid"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    act()
    libvirtd.start(LIBVIRT)


@on_simulated_host(guests=1)
def test_every_command_on_a_running_and_on_a_stopped_machine() -> None:
    """Each mode: JSON has exactly the documented keys and the truth; tables show it too."""
    guests().define("vm2", image.ensure())
    before = host_state(host())
    assert document("ports") == {"schema": "smartvif.ports/1", "ports": [], "damaged": {}}
    assert smartvif("ports").err == "no ports\n"
    for vm, live in (("vm1", True), ("vm2", False)):
        for mode in MODES:
            port = attach(vm, mode, "--vlan", "7")
            assert port.pop("schema") == "smartvif.attach/1"
            assert set(port) == PORT_KEYS
            assert (port["vm"], port["mode"], port["switch"]) == (vm, mode, "ovs")
            assert (port["bridge"], port["vlan"], port["mtu"]) == (BRIDGE, 7, 1500)
            assert port["simulated"] == SIMULATED[mode]
            assert (port["vf"] is None) == (mode == "normal")
            check_ports(port)
            check_show(port, live=live)
            check_map(port)
            check_nic_list(port)
            check_tables(port)
            detached = document("detach", port["id"][:8])
            assert detached == {"schema": "smartvif.detach/1", **port}
            assert host_state(host()) == before
    check_words_for_people()


def check_words_for_people() -> None:
    """``attach`` prints the identifier alone and notes what is simulated; ``detach`` is silent."""
    answer = smartvif(*ask(mode="direct"))
    (port,) = document("ports")["ports"]
    assert (answer.code, answer.out) == (0, f"{port['id']}\n")
    assert answer.err.splitlines() == [
        f"note: the {part} of this port is simulated" for part in SIMULATED["direct"]
    ]
    quiet = smartvif("detach", port["id"])
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    refused(smartvif("detach", port["id"]), 1, "there is no port")


@on_simulated_host(guests=1)
def test_a_port_of_a_machine_that_is_no_more_is_detached() -> None:
    """Ports of a machine that was undefined meanwhile, in every mode, are shown and go wholly."""
    guests().define("vm2", image.ensure())
    before = {trace for trace in host_state(host()) if not trace.startswith("vm2: ")}
    ports = [attach("vm2", mode)["id"] for mode in MODES]
    virsh("undefine", "vm2")
    for port in ports:
        assert document("show", port, code=1)["guest"] == []
        assert document("detach", port)["id"] == port
    assert host_state(host()) == before
