"""The switch that a port is for: read once, then bound to without asking it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smartvif.drivers.drivers import Drivers
from smartvif.model.choices import Mode
from smartvif.model.port import Binding, Port
from smartvif.model.port_spec import PortSpec
from smartvif.switches.backend import Access, SwitchReading


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSwitch:
    """A switch as it was read for a port. ``simulated``: it says that it is a simulation."""

    name: str
    access: Access[Any, Any]
    reading: SwitchReading[Any]
    simulated: bool

    def bind(self, port: Port) -> Binding:
        """The controller's answer; here we are the controller. Pure.

        Raises: Invalid, for what the switch cannot carry.
        """
        return self.access.bind(port, self.reading.facts)


def read_port_switch(
    spec: PortSpec, access: Access[Any, Any], drivers: Drivers, sockets: str
) -> PortSwitch:
    """Read the port's switch; its forwarder, if it needs one, must be alive.

    ``sockets`` is the directory of the guests' sockets.
    Raises: NotFound, Failed, CannotTell, where one of them could not take the port.
    """
    driver = drivers.switch(spec.switch)
    reading = access.read(spec, driver, sockets)
    simulated = driver.simulated()
    if spec.mode is Mode.VIRTIO_FORWARDER:
        drivers.need_forwarder().check_alive()
    return PortSwitch(name=spec.switch, access=access, reading=reading, simulated=simulated)
