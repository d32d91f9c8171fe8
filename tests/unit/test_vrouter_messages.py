"""What the simulated vRouter agent reads and writes, against what the real one does."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.model.errors import Invalid
from smartvif.sim.vrouter import messages
from smartvif.sim.vrouter.messages import NIL, NO_VLAN, AgentPortMessage, AgentPortType

PORT_ID = "0f1a2b3c-0000-4000-8000-000000000001"
MACHINE = "0f1a2b3c-0000-4000-8000-00000000000a"
NETWORK = "0f1a2b3c-0000-4000-8000-00000000000b"
PROJECT = "0f1a2b3c-0000-4000-8000-00000000000c"

# What vrouter-port-control sends for a Nova port without IPv6.
POSTED: dict[str, Any] = {
    "id": PORT_ID,
    "instance-id": MACHINE,
    "ip-address": "10.1.0.5",
    "ip6-address": "None",
    "vn-id": NETWORK,
    "display-name": "größer",
    "vm-project-id": "",
    "mac-address": "52:54:00:AB:cd:1",
    "system-name": "tap0f1a2b3c-00",
    "type": 0,
    "rx-vlan-id": -1,
    "tx-vlan-id": -1,
    "vhostuser-mode": 0,
    "author": "/usr/bin/vrouter-port-control",
    "time": "2026-01-01 00:00:00.000001",
}
PORT = AgentPortMessage(
    id=PORT_ID,
    instance_id=MACHINE,
    vn_id=NETWORK,
    vm_project_id=NIL,
    display_name="größer",
    ip_address="10.1.0.5",
    ip6_address="::",
    type=AgentPortType.VM,
    system_name="tap0f1a2b3c-00",
    mac_address="52:54:00:AB:cd:1",
)
ABSENT = object()
NO_IP = str(IPv4Address(0))


def posted(**changes: Any) -> dict[str, Any]:
    """What is posted, with other values; names with ``_`` for ``-``."""
    changed = {**POSTED, **{key.replace("_", "-"): value for key, value in changes.items()}}
    return {key: value for key, value in changed.items() if value is not ABSENT}


def refusal(value: dict[str, Any]) -> str:
    """The words in which a port is refused."""
    with pytest.raises(Invalid) as caught:
        messages.port(value)
    return caught.value.what


def test_a_port_is_read() -> None:
    """What the script posts is read, with -1 as no VLAN and 'None' as no address."""
    assert messages.port(POSTED) == PORT


# In the order in which the agent looks at them.
REFUSED: tuple[tuple[str, Any, str], ...] = (
    *(
        (key, wrong, f"Invalid or missing data for <{key}>")
        for key in ("id", "instance-id", "vn-id", "vm-project-id")
        for wrong in (ABSENT, None, 7)
    ),
    *(
        (key, wrong, f"Invalid or missing field for <{key}>")
        for key in ("display-name", "ip-address", "ip6-address")
        for wrong in (ABSENT, None, 7)
    ),
    *(("type", w, "Invalid or missing field for <type>") for w in (ABSENT, None, "0", True, 0.0)),
    ("vn-id", NIL, "Invalid VN uuid"),
    ("vn-id", "no identifier", "Invalid VN uuid"),
    *(("system-name", w, "Invalid or missing field for <system-name>") for w in (ABSENT, 1)),
    *(("mac-address", w, "Invalid or missing field for <mac-address>") for w in (ABSENT, None)),
    *(
        ("mac-address", wrong, "Invalid MAC, Use xx:xx:xx:xx:xx:xx format")
        for wrong in (
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:56:78",
            "52-54-00-12-34-56",
            "00:00:00:00:00:00",
            "0:0:0:0:0:0",
            "xx:54:00:12:34:56",
        )
    ),
    *(
        (key, wrong, f"Invalid or missing field for <{key}>")
        for key in ("rx-vlan-id", "tx-vlan-id")
        for wrong in (ABSENT, None, "5", 5.0, True, 2**31)
    ),
    ("tx-vlan-id", 65534, "Invalid request. RX (isolated) vlan set, but TX vlan not set"),
)


@pytest.mark.parametrize(("key", "wrong", "words"), REFUSED)
def test_a_bad_value_is_refused(key: str, wrong: Any, words: str) -> None:
    """Each value that the agent refuses is refused in its words."""
    assert refusal(posted(**{key: wrong})) == words


def test_the_first_that_is_wrong_is_told() -> None:
    """Where several values are wrong, the one that the agent looks at first is told."""
    order = list(dict.fromkeys(words for _, _, words in REFUSED))
    firsts = {words: (key, wrong) for key, wrong, words in reversed(REFUSED)}
    for number, words in enumerate(order):
        later = {firsts[other][0]: firsts[other][1] for other in reversed(order[number + 1 :])}
        key, wrong = firsts[words]
        assert refusal(posted(**{**later, key: wrong})) == words


def test_the_netdev_is_looked_for_after_its_name_and_before_its_mac() -> None:
    """A netdev that is not there is told where its name is right and its MAC address is not."""
    bad_mac = posted(mac_address="")

    def look(value: dict[str, Any]) -> str:
        with pytest.raises(Invalid) as caught:
            messages.port(value, lambda name: name != "tap0f1a2b3c-00")
        return caught.value.what

    assert look(bad_mac) == "Interface does not exist in OS"
    assert look(posted(mac_address="", system_name="tap1")).startswith("Invalid MAC")
    assert look(posted(system_name=1)) == "Invalid or missing field for <system-name>"
    # A remote port has no netdev here.
    assert look({**bad_mac, "type": 2}).startswith("Invalid MAC")


@pytest.mark.parametrize(
    ("key", "sent", "field", "read"),
    [
        ("instance-id", "nonsense", "instance_id", NIL),
        ("instance-id", MACHINE.upper(), "instance_id", MACHINE),
        ("instance-id", MACHINE.replace("-", ""), "instance_id", MACHINE),
        ("instance-id", MACHINE.replace("-", "", 1), "instance_id", NIL),
        ("ip-address", "10.1.0.256", "ip_address", NO_IP),
        ("ip-address", "fd00::1", "ip_address", NO_IP),
        ("ip6-address", "FD00:0::1", "ip6_address", "fd00::1"),
        ("type", 7, "type", AgentPortType.VM),
        ("type", 1, "type", AgentPortType.NAMESPACE),
        ("rx-vlan-id", 100, "rx_vlan", 100),
        ("tx-vlan-id", 65536 + 5, "tx_vlan", 5),
        ("tx-vlan-id", -1, "tx_vlan", NO_VLAN),
        ("vhostuser-mode", 1, "vhostuser_mode", 1),
        ("vhostuser-mode", "1", "vhostuser_mode", 0),
        ("vhostuser-mode", ABSENT, "vhostuser_mode", 0),
        ("link-state", ABSENT, "link_state", 1),
        ("link-state", 0, "link_state", 0),
        ("no-such-key", "?", "id", PORT_ID),
    ],
)
def test_what_is_made_of_a_value(key: str, sent: Any, field: str, read: Any) -> None:
    """Values that are not refused are read as the agent reads them."""
    assert getattr(messages.port(posted(**{key: sent})), field) == read


def test_only_a_machine_needs_a_network() -> None:
    """A nil network is no error for namespaces and remote ports; a remote link is down at first."""
    assert messages.port(posted(vn_id="", type=1)).vn_id == NIL
    assert messages.port(posted(vn_id="", type=2)).link_state == 0
    assert messages.port(posted(vn_id="", type=2, link_state=1)).link_state == 1


def test_a_set_tx_vlan_is_seen_before_it_is_cut() -> None:
    """65534 is refused as TX VLAN unless RX is 65535 as it was sent, which -1 is not."""
    assert messages.port(posted(rx_vlan_id=65535, tx_vlan_id=65534)).tx_vlan == 65534
    assert refusal(posted(rx_vlan_id=-1, tx_vlan_id=65534)).startswith("Invalid request.")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "Invalid Json string ==> "),
        ("{", "Invalid Json string ==> {"),
        ('{"id": NaN}', 'Invalid Json string ==> {"id": NaN}'),
        ('{"id": 1e999}', 'Invalid Json string ==> {"id": 1e999}'),
        (r'{"id": "\ud800"}', r'Invalid Json string ==> {"id": "\ud800"}'),
        ("[" * 100_000, "Invalid Json string ==> " + "[" * 100_000),
        ('"text"', 'Unexpected Json string ==> "text"'),
        ("null", "Unexpected Json string ==> null"),
        ("[7]", "Json Array has invalid element ==> [7]"),
        ("[[]]", "Json Array has invalid element ==> [[]]"),
        ("[{}]", "Invalid or missing data for <id>"),
    ],
    ids=lambda text: text[:12],
)
def test_a_bad_body_is_refused(body: str, words: str) -> None:
    """What is not JSON, or not of ports, is refused in the agent's words."""
    with pytest.raises(Invalid) as caught:
        messages.ports(body)
    assert caught.value.what == words


def test_an_array_is_read_in_order() -> None:
    """An object is one port, an array as many as it has."""
    other = posted(id=MACHINE)
    assert messages.ports(json.dumps(POSTED)) == [PORT]
    read = messages.ports(json.dumps([other, POSTED]))
    assert [port.id for port in read] == [MACHINE, PORT_ID]
    assert messages.ports("[]") == []


FILE = """\
{
    "id": "0f1a2b3c-0000-4000-8000-000000000001",
    "instance-id": "0f1a2b3c-0000-4000-8000-00000000000a",
    "display-name": "größer",
    "ip-address": "10.1.0.5",
    "ip6-address": "::",
    "vn-id": "0f1a2b3c-0000-4000-8000-00000000000b",
    "vm-project-id": "00000000-0000-0000-0000-000000000000",
    "mac-address": "52:54:00:AB:cd:1",
    "system-name": "tap0f1a2b3c-00",
    "type": 0,
    "rx-vlan-id": 65535,
    "tx-vlan-id": 65535,
    "vhostuser-mode": 0,
    "author": "smartvif-simulated-vrouter-agent",
    "time": "426404:56:02.133326"
}"""
NOW = (426404 * 60 + 56) * 60 + 2.133326


def test_a_file_is_written_as_the_agent_writes_it() -> None:
    """A file has the agent's keys in the agent's order; the link's state only of a remote port."""
    assert messages.file_text(PORT, NOW) == FILE
    remote = messages.port(posted(type=2))
    keys = list(json.loads(messages.file_text(remote, NOW)))
    assert keys[-4:] == ["vhostuser-mode", "link-state", "author", "time"]


UUIDS = st.uuids().map(str)
PORTS = st.builds(
    AgentPortMessage,
    id=UUIDS,
    instance_id=UUIDS,
    vn_id=UUIDS,
    vm_project_id=UUIDS | st.just(NIL),
    display_name=st.text(st.characters(codec="utf-8")),
    ip_address=st.ip_addresses(v=4).map(str),
    ip6_address=st.ip_addresses(v=6).map(str),
    type=st.just(AgentPortType.REMOTE),
    system_name=st.text(st.characters(codec="utf-8")),
    mac_address=st.binary(min_size=6, max_size=6).filter(any).map(lambda mac: mac.hex(":")),
    rx_vlan=st.integers(0, 4095) | st.just(NO_VLAN),
    tx_vlan=st.integers(0, 4095) | st.just(NO_VLAN),
    vhostuser_mode=st.integers(0, 1),
    link_state=st.integers(0, 1),
)


@given(PORTS)
def test_what_is_written_can_be_read(port: AgentPortMessage) -> None:
    """A file read again is the same port."""
    assert messages.ports(messages.file_text(port, NOW)) == [port]


def test_an_answer_has_the_agents_keys() -> None:
    """GET tells keys in the agent's order; what belongs to an address only where there is one."""
    both = messages.port(posted(ip6_address="fd00::5"))
    common = ["id", "instance-id", "vn-id", "vm-project-id", "mac-address", "system-name"]
    common += ["rx-vlan-id", "tx-vlan-id", "vhostuser-mode"]
    ip4 = ["ip-address", "plen", "dns-server", "gateway"]
    ip6 = ["v6-ip-address", "v6-dns-server", "v6-gateway"]
    answer = json.loads(messages.answer_text(both, NOW))
    assert list(answer) == [*common, *ip4, *ip6, "author", "time"]
    assert answer["mac-address"] == "52:54:00:ab:cd:01"
    assert (answer["ip-address"], answer["v6-ip-address"]) == ("10.1.0.5", "fd00::5")
    bare = messages.port(posted(ip_address="None"))
    assert list(json.loads(messages.answer_text(bare, NOW))) == [*common, "author", "time"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("52:54:00:AB:cd:1", "525400abcd01"),
        ("1:2", "010200000000"),
        ("52:54:x:1:1:1", "525400000000"),
        ("1:2:3:4:5:6:7", "010203040506"),
        ("٣:1:1:1:1:1", "000000000000"),
    ],
)
def test_mac_bytes(text: str, read: str) -> None:
    """A MAC address is read up to where it cannot be."""
    assert messages.mac_bytes(text).hex() == read


CONTAINER = {"vm-uuid": MACHINE, "host-ifname": "tap7", "vm-name": "pod"}
CONTAINER |= {"vn-uuid": NETWORK, "vmi-uuid": PORT_ID}


def test_a_container_is_read() -> None:
    """A container's message becomes a port with what it tells; the rest is nil."""
    port = messages.container(json.dumps(CONTAINER))
    assert (port.id, port.instance_id, port.vn_id) == (PORT_ID, MACHINE, NETWORK)
    assert (port.system_name, port.display_name) == ("tap7", "pod")
    assert not any(messages.mac_bytes(port.mac_address))


@pytest.mark.parametrize("key", CONTAINER)
def test_a_container_lacks_nothing(key: str) -> None:
    """Each member that a container must have is missed."""
    with pytest.raises(Invalid, match=f"Invalid or missing (data|field) for <{key}>"):
        messages.container(json.dumps({**CONTAINER, key: None}))
    with pytest.raises(Invalid, match="Unexpected Json string ==>"):
        messages.container(json.dumps([CONTAINER]))


SUBNET = {"ip-address": "10.0.0.0", "prefix-len": 8}
GATEWAY: dict[str, Any] = {"interface": "vgw", "routing-instance": "default:vn:vn"}
GATEWAY |= {"subnets": [SUBNET], "routes": []}


def test_gateways_are_read_by_interface() -> None:
    """Gateways are known by their interfaces, which is all it takes to delete one."""
    assert messages.gateways(json.dumps([GATEWAY])) == {"vgw": GATEWAY}
    assert list(messages.gateways('[{"interface": "vgw"}]', names_only=True)) == ["vgw"]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"interface": 1}, "interface"),
        ({"routing-instance": None}, "routing-instance"),
        ({"subnets": {}}, "subnets"),
        ({"subnets": [7]}, "subnets value"),
        ({"subnets": [{**SUBNET, "prefix-len": "8"}]}, "subnets value"),
        ({"routes": None}, "routes"),
        ({"routes": [{**SUBNET, "ip-address": "fd00::"}]}, "routes value"),
    ],
)
def test_a_gateway_lacks_nothing(change: dict[str, Any], missing: str) -> None:
    """The first member of a gateway that is missing or wrong is told."""
    body = json.dumps([{**GATEWAY, **change}])
    with pytest.raises(Invalid) as caught:
        messages.gateways(body)
    words = f"Json string does not have all required members, {missing} is missing ==> {body}"
    assert caught.value.what == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{}", "Unexpected Json string (not an array) ==> {}"),
        ("[1]", "Json Array has invalid element ==> [1]"),
        (
            "[{}]",
            "Json string does not have or has invalid value for member interface ==> [{}]",
        ),
    ],
)
def test_bad_gateways_to_delete(body: str, words: str) -> None:
    """What names no gateways to delete is refused in the agent's words."""
    with pytest.raises(Invalid) as caught:
        messages.gateways(body, names_only=True)
    assert caught.value.what == words
