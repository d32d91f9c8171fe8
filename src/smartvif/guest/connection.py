"""A connection to libvirt that survives the daemon's restart and raises our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from smartvif.model.errors import CannotTell, Failed, NotFound, SmartvifError

if TYPE_CHECKING:
    import libvirt


class Connection:
    """libvirt at ``uri``, connected to when first used."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._open: libvirt.virConnect | None = None

    def domain(self, name: str) -> libvirt.virDomain:
        """The domain called ``name``.

        Raises: NotFound, with the names there are as its hint; CannotTell.
        """
        try:
            with translated(self.uri):
                return self.open().lookupByName(name)
        except NotFound:
            known = ", ".join(sorted(self.domains()))
            hint = f"there are: {known}" if known else "there are none"
            what = f"no virtual machine is called '{name}'"
            raise NotFound(what, where=self.uri, hint=hint) from None

    def by_uuid(self, uuid: str) -> libvirt.virDomain:
        """The domain with this UUID, whatever it is called.

        Raises: NotFound; CannotTell.
        """
        connection, libvirt = self.open(), _libvirt()
        with translated(self.uri):
            try:
                return connection.lookupByUUIDString(uuid)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        raise NotFound(f"no virtual machine has the UUID {uuid}", where=self.uri)

    def domains(self) -> dict[str, libvirt.virDomain]:
        """All domains by name, running or not.

        Raises: CannotTell.
        """
        with translated(self.uri):
            return {domain.name(): domain for domain in self.open().listAllDomains()}

    def open(self) -> libvirt.virConnect:
        """The connection, tested and renewed if need be.

        A restart of the daemon is noticed only by a call (virConnectIsAlive does not notice it
        without an event loop), so each use begins with a cheap one.

        Raises: CannotTell, where libvirt does not answer; Failed, where it is not installed.
        """
        libvirt = _libvirt()
        if self._open is not None:
            try:
                self._open.getLibVersion()
            except libvirt.libvirtError:
                self._open = None
        if self._open is None:
            with translated(self.uri):
                self._open = libvirt.open(self.uri)
        return self._open


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise libvirt's errors in the body as ours, with libvirt's words.

    Raises: CannotTell, where the daemon is not reached; NotFound, where the domain has just gone;
    Failed, where libvirt refuses.
    """
    libvirt = _libvirt()
    try:
        yield
    except libvirt.libvirtError as error:
        raise _ours(error, where) from error


def _ours(error: libvirt.libvirtError, where: str) -> SmartvifError:
    import libvirt

    words = error.get_error_message() or str(error)
    # An error of the client's RPC code: whatever its number, no daemon has answered.
    transport = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}
    unanswered = {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_AUTH_CANCELLED,
    }
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return NotFound(f"libvirt: {words}", where=where)
    if error.get_error_domain() in transport or error.get_error_code() in unanswered:
        hint = "is libvirtd running, and may you use it?"
        return CannotTell(f"libvirt does not answer: {words}", where=where, hint=hint)
    return Failed(f"libvirt: {words}", where=where)


def _libvirt() -> ModuleType:
    try:
        import libvirt
    except ImportError as error:
        hint = "pip install 'smartvif[libvirt]', or apt-get install python3-libvirt"
        raise Failed("libvirt's Python module is not installed", hint=hint) from error
    # By default it prints every error on stderr, also those that we handle.
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    module: ModuleType = libvirt
    return module
