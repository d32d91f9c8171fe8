"""VFs by their PF: the messages to the kernel, its answers, and the step that sets one."""

from __future__ import annotations

import dataclasses
import errno
import struct
from contextlib import suppress
from typing import Any, cast

import pytest
from pyroute2.iproute.linux import get_arguments_processor
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from smartvif.drivers.drivers import Drivers
from smartvif.drivers.kernel.links import Links
from smartvif.host.vf_info import DOT1Q, NO_MAC, VfAdmin
from smartvif.model.errors import Failed, NotFound, Refused
from smartvif.plug.steps.step import take_again
from smartvif.plug.steps.vf import VfAdminSettings
from tests.support.holds import holds

# include/uapi/linux/if_link.h
IFNAME, VFINFO_LIST, VF_INFO = 3, 22, 1
MAC, VLAN, SPOOFCHK, TRUST, VLAN_LIST, VLAN_INFO = 1, 2, 4, 9, 12, 1
UNKNOWN = 0xFFFFFFFF
DOT1AD = 0x88A8
GUEST = "52:54:00:12:34:56"
BEFORE = "02:11:22:33:44:55"


def attribute(kind: int, *values: bytes) -> bytes:
    payload = b"".join(values)
    return struct.pack("HH", 4 + len(payload), kind) + payload


def switch(kind: int, number: int, value: int) -> bytes:
    """Such as IFLA_VF_TRUST: two numbers, the VF's and the setting."""
    return attribute(kind, struct.pack("II", number, value))


def address(number: int, mac: str) -> bytes:
    return attribute(MAC, struct.pack("I32s", number, bytes.fromhex(mac.replace(":", ""))))


def vlan(number: int, tag: int, qos: int) -> bytes:
    return attribute(VLAN, struct.pack("III", number, tag, qos))


def in_vlan(number: int, tag: int, protocol: int) -> bytes:
    info = struct.pack("III", number, tag, 0) + struct.pack(">H2x", protocol)
    return attribute(VLAN_LIST, attribute(VLAN_INFO, info))


def vf(*attributes: bytes) -> bytes:
    return attribute(VFINFO_LIST, attribute(VF_INFO, *attributes))


def answer(*vfs: bytes) -> bytes:
    """The kernel's to RTM_GETLINK with RTEXT_FILTER_VF, of the PF pf0 with the index 3."""
    infos = [attribute(VF_INFO, each) for each in vfs]
    body = struct.pack("BxHiII", 0, 0, 3, 0, 0) + attribute(IFNAME, b"pf0\0")
    body += attribute(VFINFO_LIST, *infos) if infos else b""
    return struct.pack("IHHII", 16 + len(body), 16, 0, 0, 0) + body


VF_0 = address(0, NO_MAC) + vlan(0, 0, 0) + switch(SPOOFCHK, 0, 1) + switch(TRUST, 0, 0)
VF_3 = address(3, BEFORE) + vlan(3, 5, 2) + switch(SPOOFCHK, 3, 0) + switch(TRUST, 3, 1)
# Of a driver that says nothing, and of a kernel that does not know the last two.
VF_4 = address(4, BEFORE) + vlan(4, 0, 0) + switch(SPOOFCHK, 4, UNKNOWN) + switch(TRUST, 4, UNKNOWN)
VF_5 = address(5, BEFORE) + vlan(5, 0, 0)
VF_6 = address(6, BEFORE) + vlan(6, 7, 0) + in_vlan(6, 7, DOT1AD)
ANSWER = answer(VF_0, VF_3 + in_vlan(3, 5, DOT1Q), VF_4, VF_5, VF_6)
THIRD = VfAdmin(mac=BEFORE, vlan=5, qos=2, spoof_check=False, trusted=True)


class Kernel:
    """pyroute2's place: it encodes what it is asked, and answers with what is laid out above.

    ``refusing`` has the error for a setting, by pyroute2's name of it.
    """

    def __init__(self, answer: bytes = ANSWER, **refusing: int) -> None:
        self.sent: list[bytes] = []
        self._answer, self._refusing = answer, refusing

    def link(self, command: str, **asked: Any) -> list[Any]:
        if command == "get":
            if asked["ifname"] != "pf0":
                raise NetlinkError(errno.ENODEV)
            read = ifinfmsg(self._answer if asked.get("ext_mask") == 9 else answer())
            read.decode()
            return [read]
        refused = self._refusing.keys() & asked["vf"].keys()
        if refused and asked["vf"] != {"vf": 3, "mac": "02:00:00:00:00:00"}:
            raise NetlinkError(self._refusing[refused.pop()])
        message = ifinfmsg()
        for key, value in get_arguments_processor("link", command, asked).items():
            if isinstance(key, str) and key.startswith("IFLA_"):
                message["attrs"].append((key, value))
            else:
                message[key] = value
        message.encode()
        sent = bytes(message.data)
        assert sent[16:32] == struct.pack("BxHiII", 0, 0, 3, 0, 0)
        self.sent.append(sent[32:])
        return []


def links(kernel: Kernel) -> Links:
    """The real driver on a kernel that is ours."""
    made = Links()
    made.__dict__["_route"] = kernel
    return made


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (0, VfAdmin(mac=NO_MAC, spoof_check=True, trusted=False)),
        (3, THIRD),
        (4, VfAdmin(mac=BEFORE)),
        (5, VfAdmin(mac=BEFORE)),
        (6, VfAdmin(mac=BEFORE, vlan=7, vlan_protocol=DOT1AD)),
    ],
)
def test_reading(number: int, found: VfAdmin) -> None:
    """Each VF's own settings are read, and what its driver does not say is not guessed."""
    assert links(Kernel()).vf_admin("pf0", number) == found


@pytest.mark.parametrize("said", [ANSWER, answer()], ids=["other VFs", "no VFs"])
def test_a_vf_that_is_not_there(said: bytes) -> None:
    """A number that the PF has no VF of is not found."""
    host = links(Kernel(said))
    with pytest.raises(NotFound, match="no VF 1"):
        host.vf_admin("pf0", 1)
    with pytest.raises(NotFound, match="no VF 1"):
        host.set_vf_admin("pf0", 1, THIRD)


def test_a_pf_that_is_not_there() -> None:
    """A PF that is gone is not found, whatever was asked of it."""
    host = links(Kernel())
    for act in (
        lambda: host.vf_admin("pf1", 0),
        lambda: host.set_vf_admin("pf1", 0, THIRD),
    ):
        with pytest.raises(NotFound, match="no such link"):
            act()


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({}, []),
        ({"mac": GUEST}, [vf(address(3, GUEST))]),
        ({"vlan": 0, "qos": 0}, [vf(vlan(3, 0, 0))]),
        ({"vlan": 6}, [vf(vlan(3, 6, 2))]),
        ({"qos": 1}, [vf(vlan(3, 5, 1))]),
        ({"spoof_check": True}, [vf(switch(SPOOFCHK, 3, 1))]),
        ({"spoof_check": None, "trusted": None}, []),
        ({"trusted": False}, [vf(switch(TRUST, 3, 0))]),
        (
            {"mac": GUEST, "vlan": 0, "qos": 0, "spoof_check": True, "trusted": False},
            [
                vf(address(3, GUEST)),
                vf(vlan(3, 0, 0)),
                vf(switch(SPOOFCHK, 3, 1)),
                vf(switch(TRUST, 3, 0)),
            ],
        ),
    ],
)
def test_what_differs_is_set(change: dict[str, Any], messages: list[bytes]) -> None:
    """The kernel is told what differs, one thing a message, and nothing else."""
    kernel = Kernel()
    wanted = dataclasses.replace(THIRD, **change)
    assert links(kernel).set_vf_admin("pf0", 3, wanted) == ()
    assert kernel.sent == messages


def test_what_is_not_said_is_set() -> None:
    """Where the driver does not say how a VF is, it is told."""
    kernel = Kernel()
    wanted = VfAdmin(mac=BEFORE, spoof_check=False, trusted=False)
    links(kernel).set_vf_admin("pf0", 4, wanted)
    assert kernel.sent == [vf(switch(SPOOFCHK, 4, 0)), vf(switch(TRUST, 4, 0))]


def test_what_a_driver_does_not_know() -> None:
    """What a driver does not let be set is named, and the rest is set."""
    unknown = errno.EOPNOTSUPP
    kernel = Kernel(spoofchk=unknown, vlan=unknown)
    wanted = VfAdmin(mac=GUEST, spoof_check=True, trusted=False)
    assert links(kernel).set_vf_admin("pf0", 3, wanted) == ("VLAN", "spoof check")
    assert kernel.sent == [vf(address(3, GUEST)), vf(switch(TRUST, 3, 0))]


@pytest.mark.parametrize("name", ["mac", "vlan", "spoofchk", "trust"])
@pytest.mark.parametrize(
    ("code", "words"), [(errno.EPERM, "not permitted"), (errno.EINVAL, "Invalid argument")]
)
def test_what_the_kernel_refuses(name: str, code: int, words: str) -> None:
    """The kernel's words are passed on, with what was to be set."""
    wanted = VfAdmin(mac=GUEST, spoof_check=True, trusted=False)
    what = {"mac": "MAC address", "vlan": "VLAN", "spoofchk": "spoof check", "trust": "trust"}
    with pytest.raises(Failed, match=f"setting the {what[name]} of VF 3 of link 'pf0': .*{words}"):
        links(Kernel(ANSWER, **{name: code})).set_vf_admin("pf0", 3, wanted)


def test_no_address_again() -> None:
    """A VF loses a guest's address; where its driver refuses to have none, for one of nobody."""
    without = dataclasses.replace(THIRD, mac=NO_MAC)
    kernel = Kernel()
    assert links(kernel).set_vf_admin("pf0", 3, without) == ()
    assert kernel.sent == [vf(address(3, NO_MAC))]
    kernel = Kernel(mac=errno.EINVAL)
    assert links(kernel).set_vf_admin("pf0", 3, without) == ()
    assert kernel.sent == [vf(address(3, "02:00:00:00:00:00"))]
    kernel = Kernel(mac=errno.EOPNOTSUPP)
    assert links(kernel).set_vf_admin("pf0", 3, without) == ("MAC address",)
    assert kernel.sent == []


def test_a_vlan_of_another_kind() -> None:
    """A VLAN that could not be put back is not taken away, and nothing else is changed either."""
    kernel = Kernel()
    with pytest.raises(Refused, match="VLAN 7") as caught:
        links(kernel).set_vf_admin("pf0", 6, VfAdmin(mac=GUEST))
    assert "vf 6 vlan 0" in caught.value.hint
    assert kernel.sent == []
    kept = VfAdmin(mac=GUEST, vlan=7)
    assert links(kernel).set_vf_admin("pf0", 6, kept) == ()
    assert kernel.sent == [vf(address(6, GUEST))]


class Admins:
    """The links of a host with one PF, whose driver says or sets only some things of its VFs."""

    def __init__(self, *, silent: bool = False, lacks: frozenset[str] = frozenset()) -> None:
        self.vfs = {
            0: VfAdmin(mac=BEFORE, spoof_check=True, trusted=False),
            1: VfAdmin(mac=NO_MAC, vlan=5, qos=1, spoof_check=True, trusted=False),
        }
        self._silent, self._lacks = silent, lacks
        self.acts = 1 << 10

    def vf_admin(self, pf: str, number: int) -> VfAdmin:
        if number not in self.vfs:
            raise NotFound(f"no VF {number}")
        found = self.vfs[number]
        if self._silent:
            return dataclasses.replace(found, spoof_check=None, trusted=None)
        return found

    def set_vf_admin(self, pf: str, number: int, wanted: VfAdmin) -> tuple[str, ...]:
        names = {"mac": "mac", "vlan": "vlan", "spoofchk": "spoof_check", "trust": "trusted"}
        lacking = []
        for what, setting in self.vf_admin(pf, number).changes(wanted):
            (name,) = setting
            if name in self._lacks:
                lacking.append(what)
                continue
            self.acts -= 1
            if self.acts < 0:
                raise Failed("the process died, or the driver failed")
            values = setting["vlan"] if name == "vlan" else {names[name]: setting[name]}
            if name in {"spoofchk", "trust"}:
                values = {names[name]: bool(setting[name])}
            self.vfs[number] = dataclasses.replace(self.vfs[number], **values)
        return tuple(lacking)


WANTED = VfAdmin(mac=GUEST, spoof_check=False, trusted=True)
STEP = VfAdminSettings(pf="pf0", number=1, wanted=WANTED)


def drivers(host: Admins) -> Drivers:
    return Drivers(links=cast(Links, host))


@pytest.mark.parametrize("silent", [False, True])
def test_the_step(silent: bool) -> None:
    """The VF is the guest's while it is plugged, and then as before; its neighbour stays as it is.

    Where its driver does not say how it was, it has neither trust nor leave to spoof.
    """
    host = Admins(silent=silent)
    before, there = dict(host.vfs), drivers(host)
    found = STEP.snapshot(there)
    assert not holds(STEP, there)
    for _ in range(2):
        STEP.do(there)
        assert host.vfs == {0: before[0], 1: WANTED}
    assert holds(STEP, there)
    for _ in range(2):
        STEP.undo(there, found)
        assert host.vfs == before


@pytest.mark.parametrize(("acts", "again"), [(a, b) for a in range(4) for b in range(a + 1)])
def test_a_step_that_ends_anywhere(acts: int, again: int) -> None:
    """Ended between any two settings, by a failure or with the process, it is undone wholly.

    So it is when undoing it has ended in between as well.
    """
    host = Admins()
    before, there = dict(host.vfs), drivers(host)
    found = STEP.snapshot(there)
    host.acts = acts
    with pytest.raises(Failed):
        STEP.do(there)
    assert (host.vfs == before) is (acts == 0)
    host.acts = again
    with suppress(Failed):
        STEP.undo(there, found)
    assert (host.vfs == before) is (again == acts)
    host.acts = 4
    STEP.undo(there, found)
    assert host.vfs == before


@pytest.mark.parametrize("silent", [False, True])
def test_a_driver_that_knows_less(silent: bool) -> None:
    """A setting that the driver does not know is an error that names it, and is not undone."""
    host = Admins(silent=silent, lacks=frozenset({"spoofchk", "trust"}))
    before, there = dict(host.vfs), drivers(host)
    found = STEP.snapshot(there)
    with pytest.raises(Failed, match="'pf0' cannot set the spoof check and the trust of its VF 1"):
        STEP.do(there)
    STEP.undo(there, found)
    assert host.vfs == before
    modest = VfAdminSettings(pf="pf0", number=1, wanted=VfAdmin(mac=GUEST))
    modest.do(there)
    assert holds(modest, there)


@pytest.mark.parametrize(
    "change",
    [
        {"mac": NO_MAC},
        {"mac": BEFORE, "trusted": False},
        {"vlan": 5},
        {"qos": 1},
        {"spoof_check": True},
        {"trusted": False},
    ],
)
def test_check_sees_what_was_lost(change: dict[str, Any]) -> None:
    """A VF that is set otherwise by now does not hold; what a driver does not say is no matter."""
    host = Admins()
    STEP.do(drivers(host))
    host.vfs[1] = dataclasses.replace(host.vfs[1], **change)
    assert not holds(STEP, drivers(host))
    host.vfs[1] = dataclasses.replace(WANTED, spoof_check=None, trusted=None)
    assert holds(STEP, drivers(host))


def test_a_trusted_guest_chooses_its_address() -> None:
    """Its address is no difference, and stays when the step is taken again; undone, all is back."""
    host = Admins()
    before, there = dict(host.vfs), drivers(host)
    found = STEP.snapshot(there)
    STEP.do(there)
    chosen = dataclasses.replace(WANTED, mac="02:aa:bb:cc:dd:ee")
    host.vfs[1] = chosen
    assert holds(STEP, there)
    host.vfs[1] = dataclasses.replace(chosen, vlan=9)
    assert not holds(STEP, there)
    take_again(STEP, there)
    assert host.vfs[1] == chosen
    host.vfs[1] = dataclasses.replace(chosen, trusted=False)
    take_again(STEP, there)
    assert host.vfs[1] == WANTED
    host.vfs[1] = chosen
    STEP.undo(there, found)
    assert host.vfs == before


def test_a_vf_that_was_trusted_before() -> None:
    """Left trusted by another program, it still gets the guest's address, and has its own back."""
    host = Admins()
    host.vfs[1] = VfAdmin(mac=BEFORE, spoof_check=False, trusted=True)
    before, there = dict(host.vfs), drivers(host)
    found = STEP.snapshot(there)
    STEP.do(there)
    assert host.vfs[1] == WANTED
    STEP.undo(there, found)
    assert host.vfs == before


TRUSTED = VfAdminSettings(pf="pf0", number=1, wanted=VfAdmin(mac=None, trusted=True))
UNTRUSTED = VfAdminSettings(
    pf="pf0", number=1, wanted=VfAdmin(mac=None, spoof_check=True, trusted=False)
)


def test_a_vf_that_is_passed_through() -> None:
    """It gets trust, or loses it and may not spoof; its address stays, and all is put back."""
    for step, left in ((TRUSTED, False), (UNTRUSTED, True)):
        host = Admins()
        host.vfs[1] = VfAdmin(mac=BEFORE, vlan=5, spoof_check=not left, trusted=left)
        before, there = dict(host.vfs), drivers(host)
        found = step.snapshot(there)
        assert not holds(step, there)
        for _ in range(2):
            step.do(there)
            assert host.vfs[1] == VfAdmin(mac=BEFORE, spoof_check=True, trusted=not left)
        assert holds(step, there)
        host.vfs[1] = dataclasses.replace(host.vfs[1], mac=GUEST)
        assert holds(step, there)
        step.undo(there, found)
        assert host.vfs == before


@pytest.mark.parametrize("left", [True, False])
def test_a_driver_that_cannot_set_trust(left: bool) -> None:
    """It fails only where trust would have to change: there is none where none is reported."""
    host = Admins(lacks=frozenset({"trust", "spoofchk"}))
    host.vfs[1] = VfAdmin(mac=BEFORE, spoof_check=False, trusted=left)
    changing, other = (UNTRUSTED, TRUSTED) if left else (TRUSTED, UNTRUSTED)
    with pytest.raises(Failed, match="'pf0' cannot set the trust of its VF 1"):
        changing.do(drivers(host))
    other.do(drivers(host))
    assert holds(other, drivers(host))
    silent = drivers(Admins(silent=True, lacks=frozenset({"trust", "spoofchk"})))
    UNTRUSTED.do(silent)
    with pytest.raises(Failed, match="cannot set the trust"):
        TRUSTED.do(silent)


def test_a_driver_without_settings_of_vfs() -> None:
    """A VF that is not to be trusted needs none; one that is to be trusted is not found."""
    host = Admins()
    host.vfs.clear()
    there = drivers(host)
    assert UNTRUSTED.snapshot(there) == {}
    UNTRUSTED.do(there)
    assert holds(UNTRUSTED, there)
    UNTRUSTED.undo(there, {})
    with pytest.raises(NotFound):
        TRUSTED.snapshot(there)
    assert not holds(TRUSTED, there)


def test_without_the_vf() -> None:
    """A VF that has gone has nothing to put back and does not hold; one that never came fails."""
    host = Admins()
    there = drivers(host)
    found = STEP.snapshot(there)
    del host.vfs[1]
    STEP.undo(there, found)
    assert not holds(STEP, there)
    for act in (STEP.snapshot, STEP.do):
        with pytest.raises(NotFound):
            act(there)
