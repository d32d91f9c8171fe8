"""The host's network links and VFs for a service without privileges, by an oslo.privsep daemon.

The daemon runs as root with CAP_NET_ADMIN and nothing else, and does only what is written here: a
call by another name is refused (oslo_privsep/daemon.py, _process_cmd). It is started by the first
call. What comes in is checked again there, because the service may be the one that is broken into.

CAP_NET_ADMIN is enough to move a link into another network namespace (net/core/rtnetlink.c,
rtnl_link_get_net_capable) and to make a tap (drivers/net/tun.c, tun_set_iff).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from oslo_config import cfg
from oslo_privsep import capabilities, priv_context

from smartvif.drivers.kernel.api import LinkReader
from smartvif.drivers.kernel.links import Links
from smartvif.drivers.kernel.netdevice import Link
from smartvif.drivers.kernel.vfio import Vfio
from smartvif.drivers.vrouter.files import PortFiles
from smartvif.host.vf_info import NO_MAC, VfAdmin
from smartvif.model import checks
from smartvif.model.errors import Invalid
from smartvif.model.pci import PciAddress
from smartvif.openstack import remote_error as carried
from smartvif.openstack.options import VROUTER, VROUTER_GROUP

SECTION = "smartvif_privileged"
_TIMEOUT = 30.0  # seconds for one call, which takes the kernel some milliseconds at most
_LONGEST_FILE = 1 << 16  # characters; a port's has some hundreds

context = priv_context.PrivContext(
    "smartvif",
    cfg_section=SECTION,
    pypath=f"{__name__}.context",
    capabilities=[capabilities.CAP_NET_ADMIN],
    timeout=_TIMEOUT,
)
_entrypoint = carried.entrypoint(context)
_asked = partial(carried.raising_ours, context)
_links = Links()  # the daemon's: it opens nothing before it is used
_vfio = Vfio()


@_entrypoint
def _set_up(name: str, mtu: int | None) -> None:
    if mtu is not None:
        checks.mtu(mtu)
    _links.set_up(checks.ifname(name), mtu=mtu)


@_entrypoint
def _set_down(name: str) -> None:
    _links.set_down(checks.ifname(name))


@_entrypoint
def _set_mtu(name: str, mtu: int) -> None:
    _links.set_mtu(checks.ifname(name), checks.mtu(mtu))


@_entrypoint
def _set_mac(name: str, mac: str) -> None:
    _links.set_mac(checks.ifname(name), checks.mac(mac))


@_entrypoint
def _set_master(name: str, bridge: str) -> None:
    _links.set_master(checks.ifname(name), checks.ifname(bridge))


@_entrypoint
def _set_vf_admin(
    pf: str,
    number: int,
    *,
    mac: str | None,
    vlan: int,
    qos: int,
    spoof_check: bool | None,
    trusted: bool | None,
) -> tuple[str, ...]:
    if qos not in range(8):
        raise Invalid(f"{qos} is not a VLAN priority", hint="it goes from 0 to 7")
    wanted = VfAdmin(
        mac=mac if mac in {None, NO_MAC} else checks.mac(mac or ""),
        vlan=checks.vlan(vlan) if vlan else 0,
        qos=qos,
        spoof_check=spoof_check,
        trusted=trusted,
    )
    return _links.set_vf_admin(checks.ifname(pf), number, wanted)


@_entrypoint
def _take_vf(vf: str) -> None:
    _vfio.bind(PciAddress.parse(vf))


@_entrypoint
def _give_back_vf(vf: str, driver: str | None) -> None:
    _vfio.restore(PciAddress.parse(vf), driver)


@_entrypoint
def _add_tap(name: str, multi_queue: bool) -> None:
    _links.add_tap(checks.ifname(name), multi_queue=multi_queue)


@_entrypoint
def _add_veth(name: str, peer: str) -> None:
    _links.add_veth(checks.ifname(name), checks.ifname(peer))


@_entrypoint
def _add_bridge(name: str) -> None:
    _links.add_bridge(checks.ifname(name))


@_entrypoint
def _delete(name: str) -> None:
    _links.delete(checks.ifname(name))


@_entrypoint
def _move(name: str, to: str) -> None:
    if "/" in to or to in {"", ".", ".."}:
        raise Invalid(f"'{to}' is not the name of a network namespace")
    _links.move(checks.ifname(name), to)


@_entrypoint
def _redirect(source: str, target: str) -> None:
    _links.redirect(checks.ifname(source), checks.ifname(target))


@_entrypoint
def _end_redirect(source: str) -> None:
    _links.end_redirect(checks.ifname(source))


@_entrypoint
def _write_port_file(port: str, text: str) -> None:
    if len(text) > _LONGEST_FILE:
        raise Invalid(f"a port file of {len(text)} characters")
    _port_files().write_text(checks.uuid(port), text)


@_entrypoint
def _remove_port_file(port: str) -> None:
    _port_files().remove(checks.uuid(port))


def _port_files() -> PortFiles:
    """The directory is the configuration's: the service may not name another."""
    cfg.CONF.register_opts(VROUTER, VROUTER_GROUP)
    return PortFiles(Path(cfg.CONF[VROUTER_GROUP].ports_directory))


class PrivilegedPortFiles(PortFiles):
    """The agent's port files, which every user may read; the daemon writes them.

    It may because they are root's, as it is itself: it needs no capability for that.
    """

    def write_text(self, port: str, text: str) -> None:
        with _asked():
            _write_port_file(port, text)

    def remove(self, port: str) -> None:
        try:
            self._path(port).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return  # as in two of the three times that Nova unplugs: no daemon is started for it
        except OSError:
            pass  # the daemon may look
        with _asked():
            _remove_port_file(port)


class PrivilegedVfio(Vfio):
    """The VFs of this host. Every user may read sysfs; the daemon, which is root, writes.

    A VF goes to vfio-pci and to nothing else. The name of the driver that it had is the service's
    word; but the kernel rebinds it only to one that has the VF's identifier in its own table.
    """

    def __init__(self) -> None:
        super().__init__()

    def bind(self, address: PciAddress) -> None:
        with _asked():
            _take_vf(str(address))

    def restore(self, address: PciAddress, driver: str | None) -> None:
        with _asked():
            _give_back_vf(str(address), driver)


class PrivsepLinks:
    """The links of this network namespace: read here, as the kernel allows, changed by the daemon.

    Raises, in every call that changes something, also: Invalid, for what the daemon does not take;
    CannotTell, where the daemon does not start or does not answer.
    """

    def __init__(self) -> None:
        self._reader: LinkReader = Links()

    def get(self, name: str) -> Link | None:
        return self._reader.get(name)

    def vf_admin(self, pf: str, number: int) -> VfAdmin:
        return self._reader.vf_admin(pf, number)

    def is_idle_tap(self, name: str) -> bool:
        return self._reader.is_idle_tap(name)

    def set_up(self, name: str, *, mtu: int | None = None) -> None:
        with _asked():
            _set_up(name, mtu)

    def set_down(self, name: str) -> None:
        with _asked():
            _set_down(name)

    def set_mtu(self, name: str, mtu: int) -> None:
        with _asked():
            _set_mtu(name, mtu)

    def set_mac(self, name: str, mac: str) -> None:
        with _asked():
            _set_mac(name, mac)

    def set_master(self, name: str, bridge: str) -> None:
        with _asked():
            _set_master(name, bridge)

    def set_vf_admin(self, pf: str, number: int, wanted: VfAdmin) -> tuple[str, ...]:
        with _asked():
            unsupported = _set_vf_admin(
                pf,
                number,
                mac=wanted.mac,
                vlan=wanted.vlan,
                qos=wanted.qos,
                spoof_check=wanted.spoof_check,
                trusted=wanted.trusted,
            )
        return tuple(unsupported)

    def add_tap(self, name: str, *, multi_queue: bool = False) -> None:
        with _asked():
            _add_tap(name, multi_queue)

    def add_veth(self, name: str, peer: str) -> None:
        with _asked():
            _add_veth(name, peer)

    def add_bridge(self, name: str) -> None:
        with _asked():
            _add_bridge(name)

    def delete(self, name: str) -> None:
        with _asked():
            _delete(name)

    def move(self, name: str, to: str) -> None:
        with _asked():
            _move(name, to)

    def redirect(self, source: str, target: str) -> None:
        with _asked():
            _redirect(source, target)

    def end_redirect(self, source: str) -> None:
        with _asked():
            _end_redirect(source)
