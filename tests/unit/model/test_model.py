"""Addresses, single values, and errors."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartvif.model import checks, errors
from smartvif.model.errors import Failed, Invalid, SmartvifError, StepFailed
from smartvif.model.pci import PciAddress

ADDRESSES = st.builds(
    PciAddress,
    domain=st.integers(0, 0xFFFFFFFF),
    bus=st.integers(0, 0xFF),
    slot=st.integers(0, 0x1F),
    function=st.integers(0, 7),
)
# What an address is made of, and what might pass for it.
CHARACTERS = st.sampled_from("0123456789abcdefABCDEFgG:.- \n\N{FULLWIDTH DIGIT ONE}")


def is_address(text: str) -> bool:
    """Whether a text has the kernel's form of an address, told part by part."""
    domain, _, rest = text.partition(":")
    bus, _, rest = rest.partition(":")
    slot, _, function = rest.partition(".")
    return (
        4 <= len(domain) <= 8
        and len(bus) == 2
        and len(slot) == 2
        and len(text) == len(domain) + len("::.") + 5
        and set(domain + bus + slot) <= set(string.hexdigits)
        and slot[0] in "01"
        and function in set("01234567")
    )


@given(ADDRESSES)
def test_an_address_is_read_as_it_is_written(address: PciAddress) -> None:
    """Every address survives being written and read, in either case."""
    assert is_address(str(address))
    assert PciAddress.parse(str(address)) == address
    assert PciAddress.parse(str(address).upper()) == address


@given(st.lists(ADDRESSES))
def test_addresses_are_in_the_order_of_the_bus(addresses: list[PciAddress]) -> None:
    """They sort by domain, then by the 16 bits that PCI Express routes by."""

    def number(address: PciAddress) -> int:
        low = address.bus << 8 | address.slot << 3 | address.function
        return address.domain << 16 | low

    assert sorted(addresses) == sorted(addresses, key=number)


@given(ADDRESSES, st.data())
def test_an_address_that_was_tampered_with(address: PciAddress, data: st.DataObject) -> None:
    """One character more, less, or other: read if it is an address still, refused if not."""
    text = str(address)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 1))
    tampered = text[:at] + data.draw(st.text(CHARACTERS, max_size=1)) + text[at + cut :]
    if is_address(tampered):
        assert PciAddress.parse(tampered) == PciAddress.parse(tampered.lower())
    else:
        with pytest.raises(Invalid):
            PciAddress.parse(tampered)


@given(st.text() | st.text(CHARACTERS))
@example("0000:03:00.1\n")
@example("03:00.1")
@example("000:03:00.1")
@example("000000000:03:00.1")
@example("0000:03:20.0")
@example("0000:03:00.8")
def test_other_texts_are_no_addresses(text: str) -> None:
    """What does not have the kernel's form is refused, with the form as the hint."""
    if not is_address(text):
        with pytest.raises(Invalid) as caught:
            PciAddress.parse(text)
        assert "0000:03:00.1" in caught.value.hint


@pytest.mark.parametrize("domain", ["10000", "100000", "1000000", "ffffffff"])
def test_long_domains(domain: str) -> None:
    """A domain may have up to eight digits."""
    address = PciAddress.parse(f"{domain}:e0:1f.7")
    assert (address.domain, str(address)) == (int(domain, 16), f"{domain}:e0:1f.7")


@given(st.binary(min_size=6, max_size=6))
@example(bytes(6))
@example(b"\xff" * 6)
def test_macs(address: bytes) -> None:
    """Every unicast address but zero is taken, and comes back in lower case."""
    text = address.hex(":")
    if address[0] & 1 or not any(address):
        with pytest.raises(Invalid):
            checks.mac(text)
    else:
        assert checks.mac(text.upper()) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "52:54:00:12:34",
        "52:54:00:12:34:56:78",
        "52-54-00-12-34-56",
        "525400123456",
        "52:54:00:12:34:5",
        "52:54:00:12:34:5g",
        "52:54:00:12:34:56\n",
        " 52:54:00:12:34:56",
    ],
)
def test_no_macs(text: str) -> None:
    """Other ways to write an address are refused, with the right one as the hint."""
    with pytest.raises(Invalid, match="is not a MAC address") as caught:
        checks.mac(text)
    assert "52:54:00:12:34:56" in caught.value.hint


@pytest.mark.parametrize(
    ("check", "least", "most"), [(checks.vlan, 1, 4094), (checks.mtu, 68, 65535)]
)
def test_the_ends_of_a_range(check: object, least: int, most: int) -> None:
    """The first and the last value are taken; the ones beyond are refused with both ends named."""
    assert callable(check)
    assert (check(least), check(most)) == (least, most)
    for beyond in (least - 1, most + 1, -least, 0):
        with pytest.raises(Invalid) as caught:
            check(beyond)
        assert f"from {least} to {most}" in caught.value.hint


@pytest.mark.parametrize("name", ["a", "p0r0", "br-int", "a" * 15, "...", "é" * 7, "br\\0"])
def test_names_of_interfaces(name: str) -> None:
    """A name of up to 15 bytes is taken as it is."""
    assert checks.ifname(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a" * 16, "a b", "a\tb", "a\n", "a/b", "a:b", "a%d", "%"),
        # Sixteen bytes in eight characters; a NUL, where the kernel's name ends; a byte 0xa0,
        # which is a blank to the kernel (lib/ctype.c).
        *("é" * 8, "a\0b", "à la", "voilà", "\udcff" * 16),
    ],
)
def test_no_names_of_interfaces(name: str) -> None:
    """What the kernel would refuse, or cut, is refused before it gets there."""
    with pytest.raises(Invalid, match="not a network interface name"):
        checks.ifname(name)


@pytest.mark.parametrize(
    "path", ["/run/ok.sock", "/s", "/run/vhost/" + "d" * 96, "/run/" + "\u00e9" * 51, "/run/a b"]
)
def test_paths_of_sockets(path: str) -> None:
    """An absolute path of at most 107 bytes is one."""
    assert checks.socket_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/run/vhost/" + "d" * 97,
        "/run/vhost/" + "d" * 100,
        "/run/" + "\u00e9" * 52,
        "vhost/sock0",
        "./sock0",
        "",
        "/run/a\0b",
        "\0abstract",
        "/",
        "/run/vhost/",
        "/run/..",
        "/run/\ud800",
    ],
)
def test_no_paths_of_sockets(path: str) -> None:
    """Empty, relative, with a NUL, of a directory, or longer than a socket address holds."""
    with pytest.raises(Invalid, match="socket"):
        checks.socket_path(path)


def test_about() -> None:
    """An error of a check says which value it is about, and keeps its words and hint."""
    with pytest.raises(Invalid) as caught, checks.about("--vlan"):
        checks.vlan(0)
    assert str(caught.value) == "--vlan: 0 is not a VLAN identifier (it goes from 1 to 4094)"


TREE = re.findall(r"^ {4}((?:│ {3})*[├└]── )(\w+) +(\d) ", errors.__doc__ or "", re.MULTILINE)
CLASSES = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SmartvifError)
}


def test_the_tree_is_drawn_true() -> None:
    """Each error is in the picture, with its exit code and below its parent."""
    assert {name for _, name, _ in TREE} == CLASSES.keys() - {"SmartvifError"}
    parents = {0: "SmartvifError"}
    for branch, name, code in TREE:
        depth = len(branch) // 4
        parents[depth] = name
        assert CLASSES[name].__base__ is CLASSES[parents[depth - 1]], name
        assert CLASSES[name].exit_code == int(code), name


@given(st.text(), st.text(), st.text())
def test_an_error_on_one_line(what: str, where: str, hint: str) -> None:
    """The three values stay apart in the error, and its text has those that are not empty."""
    error = SmartvifError(what, where=where, hint=hint)
    assert (error.what, error.where, error.hint) == (what, where, hint)
    before = f"{where}: " if where else ""
    after = f" ({hint})" if hint else ""
    assert str(error) == before + what + after


def test_a_failed_step_tells_its_cause() -> None:
    """The error of a step names the step, and has the words, place and hint of its cause."""
    cause = Failed("no such device", where="kernel", hint="look at dmesg")
    error = StepFailed("create tap tap0", cause, where="port p")
    assert str(error) == "kernel: cannot create tap tap0: no such device (look at dmesg)"
    assert (error.step, error.cause, error.exit_code) == ("create tap tap0", cause, 1)
    error = StepFailed("create tap tap0", Failed("no such device"), where="port p")
    assert str(error) == "port p: cannot create tap tap0: no such device"
