"""``vrouter-port-control``: its options, its reference, how quick it starts."""

from __future__ import annotations

import importlib
import os
import re
import tomllib

import click
import pytest

from smartvif.cli import port_control
from tests.support.checkout import CHECKOUT
from tests.support.port_control import PORT, Agent, process, said, short, words

PAGE = CHECKOUT / "docs/reference/port-control.md"
HEAVY = {"rich", "pyroute2", "libvirt", "os_vif", "oslo_config", "requests", "nova"}


# --- usage


BAD = [
    ([], "Missing option"),
    (["--uuid", PORT], "Missing option '--oper'"),
    (["--oper=add"], "Missing option '--uuid'"),
    (words(oper="remove"), "'remove' is not one of"),
    (words(uuid="port-1"), "--uuid: 'port-1' is not a UUID"),
    (["--oper=delete", "--uuid=../../etc/passwd"], "--uuid: .* is not a UUID"),
    (["--oper=enable", "--uuid="], "--uuid: '' is not a UUID"),
    (words(instance_uuid=None), "--instance_uuid: it is missing"),
    (words(instance_uuid="None"), "--instance_uuid: 'None' is not a UUID"),
    (words(vn_uuid=""), "--vn_uuid: it is missing"),
    (words(mac=None), "--mac: it is missing"),
    (words(mac="525400123456"), "--mac: .* is not a MAC"),
    (words(mac="00:00:00:00:00:00"), "all zero"),
    (words(tap_name=None), "--tap_name: it is missing"),
    (words(tap_name="tap 0"), "--tap_name: 'tap 0' is not a network"),
    (words(tap_name="sixteen-letters-"), "--tap_name"),
    (words(ip_address="10.0.0.256"), "--ip_address: '10.0.0.256' is not an IPv4"),
    (words(ip_address="fd00::1"), "not an IPv4"),
    (words(ipv6_address="10.0.0.1"), "--ipv6_address: '10.0.0.1' is not an IPv6"),
    (words(rx_vlan_id="ten"), "'ten' is not a valid integer"),
    (words(tx_vlan_id="-2"), "not in the range"),
    (words(port_type="VM"), "'VM' is not one of"),
    (words(vif_type="vrouter"), "'vrouter' is not one of"),
    (words(vhostuser_mode="server"), "'server' is not one of"),
    (words(agent_port="http"), "'http' is not a valid integer"),
    (words(vnic_type="macvtap"), "'macvtap' is not one of"),
    (words(vnic_type="direct"), "--pci_dev: it is missing"),
    (words(vnic_type="direct", pci_dev="04:00.1"), "--pci_dev: '04:00.1' is not a PCI"),
    (words(pci_dev="0000:04:00.0"), "--pci_dev: VNIC type normal takes no VF"),
    (words(vnic_type="direct", pci_dev="0000:04:00.0", vif_type="VhostUser"), "--vif_type"),
    ([*words(), "--verbose"], "No such option"),
    ([*words(), "more"], "unexpected extra argument"),
    ([*words(vm_name=None), "--vm=x"], "No such option"),
    ([*words(vm_name=None), "--vm_nam=x"], "No such option"),
    ([*words(oper=None), "--op=add"], "No such option"),
    ([" ".join(words())], "all options came as one argument"),
    ([" ".join(f'"{word}"' for word in words())], "all options came as one argument"),
]


@pytest.mark.parametrize(("arguments", "what"), BAD)
def test_usage(
    agent: Agent, arguments: list[str], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What can never be right gives 2 and one error, and nothing has happened."""
    assert port_control.run(arguments) == 2
    error = said(capfd)
    assert error.startswith("error: ")
    assert re.search(what, error)
    assert agent.ports.posted == []
    assert not (agent.root / "state").exists()
    assert agent.nothing_is_left()


def test_joined_arguments_have_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    """Who calls it as old Novas did learns what to do."""
    assert port_control.run(["--oper=delete --uuid=x"]) == 2
    assert "\n hint: each must be an argument of its own" in said(capfd)


def test_deleting_needs_no_good_values(agent: Agent) -> None:
    """What only ``add`` reads is not looked at by ``delete``: a port can always be taken away."""
    assert port_control.run(words()) == 0
    more = ["--mac=?", "--pci_dev=?", "--vnic_type=direct", "--tap_name=", "--vhostuser_mode=1"]
    assert port_control.run([*short("delete"), *more]) == 0
    assert agent.nothing_is_left()


@pytest.mark.parametrize("arguments", [["--help"], words(), short("delete"), short("disable")])
def test_it_is_quick_to_start(agent: Agent, arguments: list[str]) -> None:
    """Nothing that takes long is imported, and libvirt is not, whatever is asked."""
    program = (
        "import sys\n"
        "from smartvif.cli.port_control import main\n"
        "try:\n    main()\n"
        "finally:\n    sys.stderr.write(' '.join(sys.modules))"
    )
    done = process([os.fsencode(word) for word in arguments], program)
    loaded = {name.split(".")[0] for name in done.stderr.decode().split()}
    assert "click" in loaded
    assert loaded & HEAVY == set()
    if arguments == ["--help"]:
        assert (done.returncode, "sqlite3" in loaded) == (0, False)
        assert b"--vm_project_uuid" in done.stdout


def test_the_entry_point() -> None:
    """The command is installed by its own name."""
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["vrouter-port-control"].split(":")
    assert getattr(importlib.import_module(module), function) is port_control.main


def test_the_reference() -> None:
    """Its page names every option and every exit code, and no option that there is not."""
    text = PAGE.read_text()
    options = {
        name
        for parameter in port_control.port_control.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    named = set(re.findall(r"^`(--\w+)", text, re.MULTILINE))
    assert named == options
    codes = re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "5", "6"]
