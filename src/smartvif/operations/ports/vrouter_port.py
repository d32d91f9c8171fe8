"""Add and delete a port of the vRouter, by the requests of the agent's own script.

The script is vrouter-port-control (tungstenfabric/tf-controller, src/vnsw/agent/port_ipc), which
writes a port's file and posts it to the agent. Here the port is plugged like every other: a VIF,
its plan, and the journal. What a VIF has no field for goes with it as ``AgentOptions``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from smartvif.context.host import HostContext
from smartvif.drivers.vrouter.agent import VRouterAgent, wait_for_datapath
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.drivers.vrouter.port import AgentOptions, PortType
from smartvif.model import checks
from smartvif.model.choices import Mode
from smartvif.model.errors import Failed, Invalid
from smartvif.model.pci import PciAddress
from smartvif.model.port import Binding, Network, Port, VifType
from smartvif.model.vif import Machine, SocketMode, Vif
from smartvif.plug import port_vf
from smartvif.plug.executor import plug, unplug
from smartvif.switches.build_vif import build_vif
from smartvif.switches.prepare import prepare_port

_LINK_STATE = "link-state"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPortRequest:
    """One port. ``netdev`` is the tap's name, or that of a vhost-user port; a VF's port needs none.

    ``vhost_user`` is a port of the DPDK vRouter, or with a VF one behind a forwarder; QEMU is the
    end of its ``socket`` that ``socket_mode`` says. ``machine``, ``network`` and ``id`` are UUIDs.
    VLANs go from 0; -1 is none. Without ``persist`` the vRouter forgets the port when it restarts.
    Raises: Invalid, for values that do not go together.
    """

    id: str
    machine: str
    network: str
    mac: str
    name: str = ""
    project: str | None = None
    netdev: str | None = None
    fixed_ips: tuple[str, ...] = ()
    type: PortType = PortType.NOVA_VM
    rx_vlan: int = -1
    tx_vlan: int = -1
    persist: bool = True
    vhost_user: bool = False
    socket: str | None = None
    socket_mode: SocketMode = SocketMode.CLIENT
    mode: Mode = Mode.NORMAL
    vf: PciAddress | None = None

    def __post_init__(self) -> None:
        if self.mode.needs_vf and self.vf is None:
            raise Invalid(f"it is missing, and VNIC type {self.mode} needs it", where="--pci_dev")
        if self.vf is not None and not self.mode.needs_vf:
            raise Invalid(
                f"VNIC type {self.mode} takes no VF",
                where="--pci_dev",
                hint="--vnic_type is direct or virtio-forwarder where there is one",
            )
        if self.vhost_user and self.mode is Mode.DIRECT:
            raise Invalid("a port of VNIC type direct has no vhost-user socket", where="--vif_type")
        if self.netdev is None:
            if not self.mode.needs_vf:
                raise Invalid("it is missing, and a port without a VF needs it", where="--tap_name")
        elif self.type is not PortType.ESXI:  # whose netdev is on another host
            with checks.about("--tap_name"):
                checks.ifname(self.netdev)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for the DPDK vRouter, in seconds, and where its datapath listens."""

    agent: float = 120.0
    datapath: float = 15.0
    socket: float = 15.0
    datapath_socket: Path = Path("/var/run/vrouter/dpdk_netlink")


_WAITS = Timeouts()


def add(request: AgentPortRequest, host: HostContext, *, waits: Timeouts = _WAITS) -> None:
    """Add a port to the vRouter. Atomic and idempotent.

    A tap's port is done when its file is there, though no agent runs. Other ports need one: a port
    of the DPDK vRouter waits for it and for its datapath, one with a VF does not wait.
    Raises: before anything is changed, Failed for a vhost-user port without a socket, NotListening,
    DatapathMissing, AgentDown, NotFound for a VF or its representor, and Refused where another port
    has the VF; StepFailed after what was done has been undone, its cause an AgentFailed, AgentDown
    or SocketMissing among others.
    """
    vif = _vif(request)
    _check(request, host, waits)
    found = None
    if request.vf is not None:
        found = port_vf.read_devices(
            request.vf,
            request.id,
            lambda: host.journal,
            host.drivers.representors,
            with_uplink=request.mode is Mode.VIRTIO_FORWARDER,
        )
    machine = Machine(uuid=request.machine, name=request.name, project=request.project)
    planned = prepare_port(
        vif,
        machine,
        found,
        switch_simulated=host.drivers.need(VRouterAgent).simulated(),
        agent=AgentOptions(
            type=request.type,
            rx_vlan=request.rx_vlan,
            tx_vlan=request.tx_vlan,
            persist=request.persist,
            socket_wait=waits.socket,
        ),
    )
    plug(planned, host.journal, host.drivers)


def delete(port: str, host: HostContext) -> None:
    """Delete a port. Idempotent.

    Raises: Failed, where something cannot be undone: it stays, to be tried again.
    """
    if host.journal.has(port):
        unplug(port, host.journal, host.drivers)
    with host.journal.locked(port):
        # Another program without a journal may have added it. No other switch is read.
        if not host.journal.has(port):
            host.drivers.need(VRouterAgent).remove(port)


def set_link(port: str, host: HostContext, *, up: bool) -> None:
    """Bring the link of an ESXi port up or down, now and when the agent starts; it runs or not.

    Raises: AgentFailed, for a port that the agent does not know, or of another type; Failed.
    """
    agent = host.drivers.need(VRouterAgent)
    with host.journal.locked(port):
        _write_link(port, agent.files, up=up)
        agent.set_link(port, up=up)


def _write_link(port: str, files: PortFiles, *, up: bool) -> None:
    document = files.read(port)
    if document is None or document.get("type") != PortType.ESXI:
        return
    document.pop(_LINK_STATE, None)  # without it, the link of an ESXi port is down
    if up:
        document[_LINK_STATE] = 1
    files.write_text(port, json.dumps(document))


def _vif(request: AgentPortRequest) -> Vif:
    """The VIF that a controller would have bound."""
    details: dict[str, str | bool] = {}
    if request.vhost_user or request.mode is Mode.VIRTIO_FORWARDER:
        if not request.socket:
            raise Failed(
                "a vhost-user port needs a socket, and this one has none",
                where=f"port {request.id}",
                hint="give its path as --vhostuser_socket",
            )
        details = {
            "vhostuser_socket": request.socket,
            "vhostuser_mode": request.socket_mode.value,
            "vhostuser_vrouter_plug": True,
        }
    dpdk = request.vhost_user and not request.mode.needs_vf
    port = Port(
        id=request.id,
        mac=request.mac,
        network=Network(id=request.network),
        vnic_type=request.mode.vnic_type,
        vf=request.vf,
        fixed_ips=request.fixed_ips,
    )
    vif_type = VifType.VHOSTUSER if dpdk else VifType.VROUTER
    # The script has no word for trust.
    vif = replace(build_vif(port, Binding(vif_type=vif_type, details=details)), trusted=None)
    return vif if request.netdev is None else replace(vif, vif_name=request.netdev)


def _check(request: AgentPortRequest, host: HostContext, waits: Timeouts) -> None:
    """Check what may be down before anything is changed."""
    agent = host.drivers.need(VRouterAgent)
    if request.mode is Mode.VIRTIO_FORWARDER:
        host.drivers.need_forwarder()
    if request.mode.needs_vf:
        agent.check_alive()
    elif request.vhost_user:
        agent.wait_until_up(waits.agent)
        wait_for_datapath(waits.datapath_socket, waits.datapath)
