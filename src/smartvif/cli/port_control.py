"""The ``vrouter-port-control`` command: in place of the vRouter agent's own script of that name.

Options and exit codes are the script's (tungstenfabric/tf-controller, src/vnsw/agent/port_ipc), and
two more options for ports with a VF. docs/reference/port-control.md has both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import click

from smartvif.cli import process
from smartvif.cli.output import example
from smartvif.drivers.vrouter.port import NIL
from smartvif.model import checks
from smartvif.model.choices import Mode
from smartvif.model.errors import Invalid, SmartvifError, StepFailed
from smartvif.model.pci import PciAddress
from smartvif.model.vif import SocketMode

if TYPE_CHECKING:
    from smartvif.context.host import HostContext
    from smartvif.operations.ports.vrouter_port import AgentPortRequest, Timeouts

_NAME = "vrouter-port-control"
_HINT = f"see: {_NAME} --help"
_ACTS = ["add", "delete", "enable", "disable"]  # the last two set the link of an ESXi port
_TYPES = ["NovaVMPort", "NameSpacePort", "ESXiPort"]  # numbered as the agent numbers them
_VIF_TYPES = ["Vrouter", "VhostUser"]
_MODES = [str(mode) for mode in Mode]
_SOCKET_MODES = {"0": SocketMode.CLIENT, "1": SocketMode.SERVER}
_VLAN = click.IntRange(-1, 65535)  # the agent keeps it in 16 bits, and writes 65535 for -1


@click.command(
    _NAME,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example(
        f"{_NAME} --oper=delete --uuid=175d80b6-88f6-4848-a816-1f8776efc035",
    ),
)
@click.option(
    "--oper",
    required=True,
    type=click.Choice(_ACTS),
    help="Add or delete the port, or set the link of an ESXi port.",
)
@click.option("--uuid", required=True, help="The port's UUID.")
@click.option("--instance_uuid", help="The machine's UUID.")
@click.option("--vn_uuid", help="The virtual network's UUID.")
@click.option("--vm_project_uuid", help="The UUID of the machine's project.")
@click.option("--ip_address", help="The machine's IPv4 address; 0.0.0.0 is none.")
@click.option("--ipv6_address", help="The machine's IPv6 address; None is none.")
@click.option("--vm_name", default="", help="The machine's name, for the vRouter's DNS.")
@click.option("--mac", help="The machine's MAC address.")
@click.option("--tap_name", help="The tap's name; not used if the port has a VF.")
@click.option(
    "--port_type",
    type=click.Choice(_TYPES),
    default=_TYPES[0],
    show_default=True,
    help="What is behind the port.",
)
@click.option("--tx_vlan_id", type=_VLAN, default=-1, help="VLAN of sent frames; -1 is none.")
@click.option("--rx_vlan_id", type=_VLAN, default=-1, help="VLAN of received frames; -1 is none.")
@click.option("--no_persist", default="", help="Write no port file, if the value is not empty.")
@click.option(
    "--vif_type",
    type=click.Choice(_VIF_TYPES),
    default=_VIF_TYPES[0],
    show_default=True,
    help="A netdev, or a vhost-user socket.",
)
@click.option("--vhostuser_socket", help="The vhost-user socket's path.")
@click.option(
    "--vhostuser_mode",
    type=click.Choice(list(_SOCKET_MODES)),
    default="0",
    show_default=True,
    help="QEMU's side of the socket: 0 client, 1 server.",
)
@click.option(
    "--agent_port", type=click.IntRange(1, 65535), help="TCP port of the agent on this host."
)
@click.option("--port_json_path", help="The directory of the port files.")
@click.option(
    "--vnic_type",
    type=click.Choice(_MODES),
    default=_MODES[0],
    show_default=True,
    help="A tap, a VF passed through to the guest, or a VF behind the virtio forwarder.",
)
@click.option("--pci_dev", help="PCI address of the VF of a direct or virtio-forwarder port.")
@click.pass_obj
def port_control(
    waits: Timeouts | None,
    /,
    oper: str,
    uuid: str,
    agent_port: int | None,
    port_json_path: str | None,
    **asked: Any,
) -> int:
    """Add a port to the vRouter's agent, or delete it."""
    from smartvif.operations.ports import vrouter_port as chain

    try:
        with checks.about("--uuid"):
            port = checks.uuid(uuid)
        request = _request(port, asked) if oper == "add" else None
        host = _host(agent_port, port_json_path)
        if request is not None:
            chain.add(request, host, waits=waits or chain.Timeouts())
        elif oper == "delete":
            chain.delete(port, host)
        else:
            chain.set_link(port, host, up=oper == "enable")
    except SmartvifError as error:
        click.echo(error.explained(), err=True)
        return _exit_code(error, oper)
    return 0


def run(words: Sequence[str], *, waits: Timeouts | None = None) -> int:
    """Do what the command's arguments say; returns the exit code. ``waits``: the usual ones."""

    def command() -> object:
        _refuse_joined(words)
        return port_control.main(list(words), _NAME, standalone_mode=False, obj=waits)

    return process.exit_code(command, _usage_text)


def _usage_text(error: click.UsageError) -> str:
    return Invalid(error.format_message(), where=_NAME, hint=_HINT).explained()


def main() -> None:
    """Run the command."""
    process.prepare()
    sys.exit(run(sys.argv[1:]))


def _refuse_joined(words: Sequence[str]) -> None:
    """Old Novas passed all options as one argument, to which a name could add options.

    bugs.launchpad.net/nova/+bug/1584625
    """
    if len(words) == 1 and len(words[0].split()) > 1:
        raise Invalid(
            "all options came as one argument",
            where=_NAME,
            hint="each must be an argument of its own; Nova has done so since Newton",
        )


def _host(agent_port: int | None, port_json_path: str | None) -> HostContext:
    from smartvif.context import settings
    from smartvif.context.host import HostContext
    from smartvif.switches.vrouter import VROUTER

    found = settings.load()
    changes: dict[str, str] = {}
    if agent_port is not None:
        changes["agent"] = f"http://127.0.0.1:{agent_port}"
    if port_json_path:
        changes["ports"] = port_json_path
    vrouter = replace(found.switches[VROUTER.name], **changes)  # type: ignore[type-var]
    return HostContext(replace(found, switches={**found.switches, VROUTER.name: vrouter}))


def _request(port: str, asked: dict[str, Any]) -> AgentPortRequest:
    """The port to be added, from the words of the command line.

    Raises: Invalid.
    """
    from smartvif.drivers.vrouter.port import PortType
    from smartvif.operations.ports.vrouter_port import AgentPortRequest

    kind = PortType(_TYPES.index(asked["port_type"]))
    if kind is not PortType.NOVA_VM and not asked["vn_uuid"]:
        asked["vn_uuid"] = NIL  # the agent has the network of other ports from its controller
    for name in ("instance_uuid", "vn_uuid", "mac"):
        if not asked[name]:
            raise Invalid("it is missing, and 'add' needs it", where=f"--{name}", hint=_HINT)
    for name in ("tap_name", "vhostuser_socket"):
        _checked(name, _utf8, asked)
    return AgentPortRequest(
        id=port,
        machine=_checked("instance_uuid", checks.uuid, asked),
        network=_checked("vn_uuid", checks.uuid, asked),
        mac=_checked("mac", checks.mac, asked),
        name=_name(asked["vm_name"]),
        project=asked["vm_project_uuid"],
        netdev=asked["tap_name"] or None,
        fixed_ips=(
            *_address("ip_address", IPv4Address, asked),
            *_address("ipv6_address", IPv6Address, asked),
        ),
        type=kind,
        rx_vlan=asked["rx_vlan_id"],
        tx_vlan=asked["tx_vlan_id"],
        persist=not asked["no_persist"],
        vhost_user=asked["vif_type"] == "VhostUser",
        socket=asked["vhostuser_socket"],
        socket_mode=_SOCKET_MODES[asked["vhostuser_mode"]],
        mode=Mode(asked["vnic_type"]),
        vf=_checked("pci_dev", PciAddress.parse, asked) if asked["pci_dev"] else None,
    )


def _checked(name: str, check: Any, asked: dict[str, Any]) -> Any:
    with checks.about(f"--{name}"):
        return check(asked[name])


def _address(
    name: str, family: type[IPv4Address | IPv6Address], asked: dict[str, Any]
) -> tuple[str, ...]:
    """The address, if it is not one of the words for none."""
    text = asked[name]
    if not text or text == "None":
        return ()
    try:
        address = family(text)
    except ValueError:
        raise Invalid(
            f"'{text}' is not an IPv{family(0).version} address",
            where=f"--{name}",
            hint="leave the option away where there is none",
        ) from None
    return () if address.is_unspecified else (str(address),)


def _name(text: str) -> str:
    """The name as JSON can say it: bytes that are not UTF-8 are replaced (U+FFFD).

    The kernel passes arguments as bytes, and Python keeps those in halves of characters (PEP 383),
    with which the agent would refuse the whole port.
    """
    return os.fsencode(text).decode(errors="replace")


def _utf8(text: str | None) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise Invalid("it has bytes that are not UTF-8") from None


def _exit_code(error: SmartvifError, oper: str) -> int:
    """The script's exit code."""
    from smartvif.drivers.vrouter import agent

    if isinstance(error, StepFailed):
        error = error.cause
    if isinstance(error, Invalid):
        return error.exit_code
    codes: dict[type[SmartvifError], int] = {
        agent.NotListening: 2,
        agent.DatapathMissing: 3,
        agent.AgentFailed: 4,
        agent.AgentDown: 5,
        agent.SocketMissing: 6,
    }
    if oper != "add":
        return 1
    return next((code for kind, code in codes.items() if isinstance(error, kind)), 1)
