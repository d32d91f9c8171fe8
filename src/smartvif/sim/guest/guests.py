"""Guests of the simulated host: real virtual machines, emulated, small and quick to boot."""

from __future__ import annotations

import os
import time
from pathlib import Path
from xml.etree import ElementTree as ET

from smartvif.guest.connection import Connection, translated
from smartvif.model.errors import Failed, Invalid, TimedOut
from smartvif.sim.guest.console import Console
from smartvif.sim.guest.image import CMDLINE, READY, GuestImage

_MEMORY_MIB = 192
# sun_path has 108 bytes with the closing NUL (unix(7)).
_SOCKET_PATH_MAX = 107


class SimulatedGuests:
    """The guests of the libvirt at ``uri``, with their sockets and logs in ``run_dir``."""

    def __init__(self, uri: str, run_dir: Path) -> None:
        self._connection = Connection(uri)
        self._run_dir = run_dir

    def define(self, name: str, image: GuestImage) -> None:
        """Make a guest without interfaces; it is not started.

        Raises: Invalid, where the name makes too long a path; Failed; CannotTell.
        """
        if len(os.fsencode(self._agent(name))) > _SOCKET_PATH_MAX:
            what = f"'{self._agent(name)}' is too long a path for a socket"
            raise Invalid(what, where=f"guest {name}", hint="give the guest a shorter name")
        text = domain_xml(name, image, log=self.log(name), agent=self._agent(name))
        connection = self._connection.open()
        import libvirt

        with translated(f"guest {name}"):
            connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)

    def start(self, name: str) -> None:
        """Start it; ``wait_ready`` waits until it is up.

        Raises: NotFound; Failed; CannotTell.
        """
        domain = self._connection.domain(name)
        with translated(f"guest {name}"):
            domain.create()

    def stop(self, name: str) -> None:
        """Stop it, as by its power switch.

        Raises: NotFound; Failed; CannotTell.
        """
        domain = self._connection.domain(name)
        with translated(f"guest {name}"):
            domain.destroy()

    def wait_ready(self, name: str, *, timeout: float = 240.0) -> Console:
        """Wait until a started guest takes commands, ``timeout`` seconds; returns its console.

        Raises: TimedOut or, where the guest stopped, Failed; both with the end of its log.
        NotFound; CannotTell.
        """
        end = time.monotonic() + timeout
        while READY not in self._logged(name):
            domain = self._connection.domain(name)
            with translated(f"guest {name}"):
                running = domain.isActive()
            if not running:
                raise Failed(f"it stopped; {self._last_words(name)}", where=f"guest {name}")
            if time.monotonic() > end:
                what = f"not up within {timeout:g} s; {self._last_words(name)}"
                raise TimedOut(what, where=f"guest {name}")
            time.sleep(0.1)
        return Console(self._agent(name))

    def log(self, name: str) -> Path:
        """The file with what its kernel and its init print; truncated at each start."""
        return self._run_dir / f"{name}.log"

    def _agent(self, name: str) -> Path:
        return self._run_dir / f"{name}.agent"

    def _logged(self, name: str) -> str:
        try:
            return self.log(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _last_words(self, name: str) -> str:
        lines = [line.strip() for line in self._logged(name).splitlines() if line.strip()]
        return f"its console ends: {' / '.join(lines[-10:])}" if lines else "its console is silent"


def domain_xml(name: str, image: GuestImage, *, log: Path, agent: Path) -> str:
    """libvirt's description of a guest.

    Its memory is a memfd and shared, which vhost-user needs, and it has one processor. The first
    serial port writes the file ``log``, the second is the UNIX socket ``agent``.
    """
    domain = ET.Element("domain", type="qemu")
    ET.SubElement(domain, "name").text = name
    ET.SubElement(domain, "memory", unit="MiB").text = str(_MEMORY_MIB)
    memory = ET.SubElement(domain, "memoryBacking")
    ET.SubElement(memory, "source", type="memfd")
    ET.SubElement(memory, "access", mode="shared")
    ET.SubElement(domain, "vcpu").text = "1"
    boot = ET.SubElement(domain, "os")
    ET.SubElement(boot, "type", arch="x86_64", machine="pc").text = "hvm"
    ET.SubElement(boot, "kernel").text = str(image.kernel)
    ET.SubElement(boot, "initrd").text = str(image.initrd)
    ET.SubElement(boot, "cmdline").text = CMDLINE
    # The guest's kernel plugs PCI devices by ACPI.
    ET.SubElement(ET.SubElement(domain, "features"), "acpi")
    devices = ET.SubElement(domain, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    console = ET.SubElement(devices, "serial", type="file")
    ET.SubElement(console, "source", path=str(log))
    ET.SubElement(console, "target", port="0")
    line = ET.SubElement(devices, "serial", type="unix")
    ET.SubElement(line, "source", mode="bind", path=str(agent))
    ET.SubElement(line, "target", port="1")
    ET.SubElement(devices, "memballoon", model="none")
    return ET.tostring(domain, encoding="unicode")
