"""Trust of a VF by its PF: the messages to the kernel, its answers, and the step."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pyroute2.iproute.linux import get_arguments_processor
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from smartvif.drivers.netlink import Links
from smartvif.model.errors import Failed, NotFound
from smartvif.plug.step import World
from smartvif.plug.steps.veb import VfTrust

# An answer to RTM_GETLINK with RTEXT_FILTER_VF, as include/uapi/linux/if_link.h lays it out: the
# PF pf0 of index 3, its VF 0 not trusted, its VF 3 trusted, its VF 4 of a driver that says nothing.
ANSWER = bytes.fromhex(
    "5c000000 1000 0000 00000000 00000000"  # nlmsghdr: length, RTM_NEWLINK
    "00 00 0000 03000000 00000000 00000000"  # ifinfomsg: index 3
    "0800 0300 70663000"  # IFLA_IFNAME
    "3400 1600"  # IFLA_VFINFO_LIST
    "1000 0100 0c00 0900 00000000 00000000"  # IFLA_VF_INFO, IFLA_VF_TRUST: VF, setting
    "1000 0100 0c00 0900 03000000 01000000"
    "1000 0100 0c00 0900 04000000 ffffffff"
)
WITHOUT_VFS = bytes.fromhex("28000000") + ANSWER[4:40]
# IFLA_VFINFO_LIST, IFLA_VF_INFO, IFLA_VF_TRUST: VF 3, and then the setting.
TRUST_VF_3 = bytes.fromhex("1400 1600 1000 0100 0c00 0900 03000000")
ON, OFF = bytes.fromhex("01000000"), bytes.fromhex("00000000")


class Kernel:
    """pyroute2's place: it encodes what it is asked, and answers with what was recorded."""

    def __init__(self, answer: bytes = ANSWER, *, refusing: int | None = None) -> None:
        self.sent: list[bytes] = []
        self._answer, self._refusing = answer, refusing

    def link(self, command: str, **asked: Any) -> list[Any]:
        if command == "get":
            if asked["ifname"] != "pf0":
                raise NetlinkError(19)  # ENODEV
            read = ifinfmsg(self._answer if asked.get("ext_mask") == 1 else WITHOUT_VFS)
            read.decode()
            return [read]
        if self._refusing:
            raise NetlinkError(self._refusing)
        message = ifinfmsg()
        for key, value in get_arguments_processor("link", command, asked).items():
            if isinstance(key, str) and key.startswith("IFLA_"):
                message["attrs"].append((key, value))
            else:
                message[key] = value
        message.encode()
        self.sent.append(bytes(message.data))
        return []


def links(kernel: Kernel) -> Links:
    """The real driver on a kernel that is ours."""
    made = Links()
    made.__dict__["_route"] = kernel
    return made


@pytest.mark.parametrize(("number", "trusted"), [(0, False), (3, True), (4, None)])
def test_reading(number: int, trusted: bool | None) -> None:
    """Each VF's own trust is read, and what its driver does not say is not guessed."""
    assert links(Kernel()).vf_trust("pf0", number) is trusted


@pytest.mark.parametrize("answer", [ANSWER, WITHOUT_VFS], ids=["other VFs", "no VFs"])
def test_a_vf_that_is_not_there(answer: bytes) -> None:
    """A number that the PF has no VF of is not found."""
    with pytest.raises(NotFound, match="no VF 1"):
        links(Kernel(answer)).vf_trust("pf0", 1)


@pytest.mark.parametrize(("trusted", "setting"), [(True, ON), (False, OFF)])
def test_the_message(trusted: bool, setting: bytes) -> None:
    """The kernel is told of one VF, by the index of its PF, and nothing else of the link."""
    kernel = Kernel()
    links(kernel).set_vf_trust("pf0", 3, trusted)
    (sent,) = kernel.sent
    assert sent[16:32] == bytes.fromhex("00 00 0000 03000000 00000000 00000000")
    assert sent[32:] == TRUST_VF_3 + setting


def test_a_pf_that_is_not_there() -> None:
    """A PF that is gone is not found, whatever was asked of it."""
    with pytest.raises(NotFound):
        links(Kernel()).vf_trust("pf1", 0)
    with pytest.raises(NotFound):
        links(Kernel()).set_vf_trust("pf1", 0, True)


@pytest.mark.parametrize(("code", "words"), [(95, "not supported"), (1, "not permitted")])
def test_what_the_kernel_refuses(code: int, words: str) -> None:
    """The kernel's words are passed on."""
    with pytest.raises(Failed, match=words):
        links(Kernel(refusing=code)).set_vf_trust("pf0", 3, True)


class Trusts:
    """The links of a host with one PF, whose VFs are trusted or not, or do not say."""

    def __init__(self, *, silent: bool = False, **trusts: bool) -> None:
        self.trusts = {int(name[2:]): trusted for name, trusted in trusts.items()}
        self._silent = silent

    def vf_trust(self, pf: str, number: int) -> bool | None:
        self._there(number)
        return None if self._silent else self.trusts[number]

    def set_vf_trust(self, pf: str, number: int, trusted: bool) -> None:
        self._there(number)
        self.trusts[number] = trusted

    def _there(self, number: int) -> None:
        if number not in self.trusts:
            raise NotFound(f"no VF {number}")


STEP = VfTrust(pf="pf0", number=1)


def world(host: Trusts) -> World:
    return World(links=cast(Links, host), ovs=cast(Any, None))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_the_step(before: bool, silent: bool) -> None:
    """The VF is trusted while it is plugged; then as before, and without trust if none can tell."""
    host = Trusts(vf0=False, vf1=before, silent=silent)
    there = world(host)
    found = STEP.find(there)
    for _ in range(2):
        STEP.do(there)
    assert host.trusts == {0: False, 1: True}
    assert STEP.check(there)
    for _ in range(2):
        STEP.undo(there, found)
    assert host.trusts == {0: False, 1: before and not silent}


def test_undoing_what_was_never_done() -> None:
    """A step that the process died before is undone without a trace."""
    host = Trusts(vf1=False)
    STEP.undo(world(host), {"trusted": False})
    assert host.trusts == {1: False}


def test_check_sees_lost_trust() -> None:
    """A VF that lost its trust, or is gone, does not hold."""
    assert not STEP.check(world(Trusts(vf1=False)))
    assert not STEP.check(world(Trusts(vf0=True)))


def test_undoing_without_the_vf() -> None:
    """A VF that has gone has nothing to put back; one that never came cannot be trusted."""
    STEP.undo(world(Trusts()), {"trusted": False})
    with pytest.raises(NotFound):
        STEP.find(world(Trusts()))
