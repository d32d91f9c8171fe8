"""Simulated hosts that the real Placement knows: what people see who use ``smartvif`` with it."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimState
from smartvif.choose.placement.claims import CONSUMER_TYPE, PlacementClaims
from smartvif.demo.demo import host_state
from smartvif.model import traits
from smartvif.model.errors import Failed, StepFailed
from smartvif.operations.reconcile import reconcile
from smartvif.plug.steps.guest import AttachedInterface
from smartvif.sim.guest import libvirtd
from smartvif.sim.host import BRIDGE, CONFIG, LIBVIRT
from smartvif.sim.testing import on_simulated_host
from tests.support.claims import (
    ASK,
    FIRST,
    OF_SECOND_PF,
    SECOND,
    attach_one,
    claims,
    dies,
    smartvif_in_process,
)
from tests.support.commands import Answer, attach, document, host, refused, smartvif
from tests.support.placement import children, client, has_traits, pool, raw
from tests.support.placement_service import RIGHT, Service, Store, service, store

HERE = "compute-1"
SWITCHES = {traits.datapath("ovs"), traits.datapath("vrouter")}
UNKNOWN = "HW_NIC_SRIOV_QOS_TX"  # unknown of a simulated VF
PF0, PF1 = "0000:03:00.0", "0000:03:00.1"


@pytest.fixture
def stored() -> Iterator[Store]:
    """A database for Placement: outside, where simulated hosts reach it by its socket."""
    with store("mariadb") as found:
        yield found


@contextmanager
def placement(stored: Store, *, name: str = HERE, retries: int = RIGHT) -> Iterator[Service]:
    """Placement on this host's loopback, and in its configuration."""
    with service(stored, retries=retries, workers=1) as running:
        path = Path(f"{CONFIG}.placement")
        path.write_text(
            f"{CONFIG.read_text()}\n[placement]\nendpoint = '{running.url}'\nhost = '{name}'\n"
            f"config = '{running.config}'\n"
        )
        os.environ["SMARTVIF_CONFIG"] = str(path)
        yield running


def start_libvirt() -> None:
    """Give the host a libvirt, which it has only with guests."""
    uri = libvirtd.start(LIBVIRT).uri
    CONFIG.write_text(CONFIG.read_text().replace("qemu:///session", uri))


def publish() -> str:
    """Have Placement know this host; what there is to know."""
    answer = smartvif("placement", "publish")
    assert (answer.code, answer.out) == (0, ""), answer
    return answer.err


def shown(running: Service) -> dict[str, Any]:
    """All that Placement shows of providers: by name their generation, inventories and traits."""
    found = {}
    for each in raw(running, "GET", "/resource_providers")["resource_providers"]:
        path = f"/resource_providers/{each['uuid']}/inventories"
        found[each["name"]] = (
            each["generation"],
            {
                name: entry["total"]
                for name, entry in raw(running, "GET", path)["inventories"].items()
            },
            has_traits(running, each["uuid"]),
        )
    return found


def booked(running: Service) -> dict[str, dict[str, int]]:
    """What each port has in Placement, with the PF."""
    found = {}
    for name, provider in children(running, HERE).items():
        path = f"/resource_providers/{provider}/allocations"
        for owner, entry in raw(running, "GET", path)["allocations"].items():
            pf = name.removeprefix(f"{HERE}_").lower()
            found[owner] = {f"{pf} {kind}": count for kind, count in entry["resources"].items()}
    return found


def book(running: Service, pf: str, count: int) -> str:
    """Have somebody else, as Nova, take of a PF; who."""
    somebody = str(uuid.uuid4())
    provider = children(running, HERE)[f"{HERE}_{pf}"]
    body = {
        "allocations": {provider: {"resources": {"SRIOV_NET_VF": count}}},
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
        "project_id": "p",
        "user_id": "u",
    }
    raw(running, "PUT", f"/allocations/{somebody}", body)
    assert raw(running, "GET", f"/allocations/{somebody}")["allocations"]
    return somebody


@contextmanager
def made_to_fail(act: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Have a port's last step fail, after ``act``."""

    def do(*_: object) -> None:
        act()
        raise Failed("made to fail")

    with mock.patch.object(AttachedInterface, "do", do):
        yield


def reasons(answer: Answer) -> dict[str, str]:
    """Of an attachment with --explain, why each VF was not taken."""
    *told, _, _ = answer.err.splitlines()
    return dict(line.split("  ", 1) for line in told)


def schedule(*ports: str, code: int = 0) -> tuple[str | None, dict[str, str | None]]:
    """The host that is best for the ports, and each host's problem."""
    asked = [word for port in ports for word in ("--port", port)]
    found = document("placement", "schedule", *asked, code=code)
    assert found.keys() == {"schema", "host", "hosts"}
    assert found["schema"] == "smartvif.placement-schedule/1"
    return found["host"], {each["name"]: each["problem"] for each in found["hosts"]}


# Telling Placement of hosts, and choosing one


@on_simulated_host("1x0")
def a_host_without(stored: Store) -> None:
    """Publish a host that has no VFs, where Placement is not set up as it comes."""
    start_libvirt()
    with placement(stored, name="compute-0", retries=10) as running:
        for command in ("check", "publish"):
            answer = smartvif("placement", command)
            refused(answer, 4, "can give one device to two ports")
            assert f"write 'allocation_conflict_retry_count = {RIGHT}'" in answer.err
        assert shown(running) == {}
    with placement(stored, name="compute-0") as running:
        publish()
        assert shown(running) == {"compute-0": (1, {}, SWITCHES)}
        assert schedule("direct", code=1)[0] is None


@on_simulated_host("2x2,legacy=1")
def a_host_with(stored: Store) -> None:
    """Publish a host whose second PF is in legacy mode, and have hosts chosen."""
    start_libvirt()
    with placement(stored) as running:
        assert smartvif("placement", "check").out == "it gives each device to one port\n"
        assert publish() == ""
        once = shown(running)
        assert once.keys() == {"compute-0", HERE, f"{HERE}_{PF0}", f"{HERE}_{PF1}"}
        assert once[HERE][1:] == ({}, {*SWITCHES, traits.SMARTNIC})
        pools = {pool["pf"]: pool for pool in document("nic", "capabilities")["pools"]}
        for pf, pool in pools.items():
            total = {"SRIOV_NET_VF": 2, "NET_BW_EGR_KILOBIT_PER_SEC": pool["rate"]}
            assert once[f"{HERE}_{pf}"][1:] == (total, set(pool["capabilities"]))
            assert UNKNOWN in pool["unknown"]
        assert traits.SWITCHDEV in pools[PF0]["capabilities"]
        assert traits.SWITCHDEV not in pools[PF1]["capabilities"]
        assert publish() == ""
        assert shown(running) == once
        hosts_are_chosen()
        words_that_are_no_port()


def hosts_are_chosen() -> None:
    """The one without a SmartNIC for those that need none, the other for those that it has."""
    lacks = "it has no devices that all ports could have"
    spared = ("compute-0", {HERE: None, "compute-0": None})
    assert schedule("normal,switch=vrouter", "normal") == spared
    fitting: list[tuple[str, ...]] = [
        (f"direct,capability={traits.SIMULATED},capability={traits.SRIOV}",),
        ("virtio-forwarder,switch=vrouter", "normal"),
        ("direct,min-rate=4000000", "direct,min-rate=6000000"),
    ]
    for ports in fitting:
        assert schedule(*ports) == (HERE, {HERE: None, "compute-0": lacks}), ports
    too_much: list[tuple[str, ...]] = [
        (f"direct,capability={UNKNOWN}",),
        ("direct,capability=CUSTOM_NOBODY_HAS_IT",),
        ("direct,physical-network=physnet1",),
        ("direct", "direct", "direct"),
        ("direct,min-rate=4000000", "direct,min-rate=6000001"),
    ]
    for ports in too_much:
        assert schedule(*ports, code=1) == (None, {HERE: lacks, "compute-0": lacks}), ports
    [best, _] = document("placement", "schedule", "--port", "direct")["hosts"]
    assert best.keys() == {"name", "problem", "free", "ports"}
    [pool] = best["ports"]
    assert pool.keys() == document("nic", "capabilities")["pools"][0].keys()
    assert (pool["pf"], pool["free"], pool["total"]) == (PF0, 2, 2)
    told = smartvif("placement", "schedule", "--port", "direct", "--explain")
    assert told.out.splitlines()[0] == HERE
    assert re.search(rf"{HERE} +it is suitable", told.out)
    assert re.search(rf"compute-0 +{lacks}", told.out)
    refused(smartvif("placement", "schedule", "--port", "direct,trusted"), 1, "no host is suitable")


def words_that_are_no_port() -> None:
    """They are distinguished from ports that no host has anything for."""
    for text, what in {
        "": "'' is no port",
        "direct,speed=1": "unknown key 'speed'",
        "direct,trusted=yes": "unknown key 'trusted'",
        "direct,min-rate=fast": "'fast'",
        "direct,capability=rdma": "'rdma' is not the name of a capability",
    }.items():
        refused(smartvif("placement", "schedule", "--port", text), 2, what)
    assert smartvif("placement", "schedule").code == 2


def test_hosts_are_published_and_chosen(stored: Store) -> None:
    """Placement shows of each host what it has, and the command names the best."""
    a_host_without(stored)
    a_host_with(stored)


# Ports


@on_simulated_host("2x2", guests=1)
def test_ports_on_a_host(stored: Store) -> None:
    """What ports have here they have in Placement, and others' is not theirs."""
    ports_are_booked(stored)
    ports_from_elsewhere(stored)
    what_is_given_away(stored)


def ports_are_booked(stored: Store) -> None:
    """A port has a VF here and in Placement, or in neither."""
    start = host_state(host())
    with placement(stored) as running:
        refused(smartvif(*ASK), 1, f"knows no host '{HERE}'")
        publish()
        normal = attach("vm1", "normal")
        rate = {f"{PF1} SRIOV_NET_VF": 1, f"{PF1} NET_BW_EGR_KILOBIT_PER_SEC": 1000}
        first = attach("vm1", "direct")
        second = attach("vm1", "virtio-forwarder", "--min-rate", "1000")
        mine = {first["id"]: {f"{PF0} SRIOV_NET_VF": 1}, second["id"]: rate}
        assert booked(running) == mine
        assert claims(host()) == {
            FIRST: (first["id"], ClaimState.ALLOCATED),
            OF_SECOND_PF: (second["id"], ClaimState.ALLOCATED),
        }
        found = raw(running, "GET", f"/allocations/{first['id']}")
        assert found["consumer_type"] == CONSUMER_TYPE
        before = shown(running)
        publish()  # what is in use is counted by what is booked, not by what there is
        assert {name: each[1:] for name, each in shown(running).items()} == {
            name: each[1:] for name, each in before.items()
        }

        refused(smartvif(*ASK, "--mac", normal["mac"]), 4, "already")
        with made_to_fail(), pytest.raises(StepFailed, match="made to fail"):
            attach_one(host())
        assert booked(running) == mine
        assert len(claims(host())) == 2

        for port in (first, second, normal):
            document("detach", port["id"])
        assert booked(running) == {}
        assert host_state(host()) == start
        assert document("reconcile")["ports"] == {}


def ports_from_elsewhere(stored: Store) -> None:
    """What Placement does not know it is told; what it has of a port on another host stays."""
    os.environ["SMARTVIF_CONFIG"] = str(CONFIG)  # of a time without Placement
    early = [attach("vm1", "direct", "--min-rate", rate) for rate in ("1000", "2000")]
    with placement(stored) as running:
        both = {
            port["id"]: {
                f"{port['pf']} SRIOV_NET_VF": 1,
                f"{port['pf']} NET_BW_EGR_KILOBIT_PER_SEC": port["needs"]["min_rate"],
            }
            for port in early
        }
        foreign = book(running, PF1, 2)
        full = publish().splitlines()
        note = f"note: port {early[0]['id']} has VF {FIRST}, which is booked now"
        assert full[-2] == note, full
        assert f"port {early[1]['id']} has VF {OF_SECOND_PF}, which cannot be booked" in full[-1]
        raw(running, "DELETE", f"/allocations/{foreign}")
        assert publish() == (
            f"note: port {early[1]['id']} has VF {OF_SECOND_PF}, which is booked now\n"
        )
        assert booked(running) == both
        assert publish() == ""
        assert document("reconcile")["ports"] == {  # the host has got another name
            port["id"]: f"record again that it has VF {port['vf']}" for port in early
        }
        assert document("reconcile")["ports"] == {}

        mover, _ = early
        client(running.url).publish("compute-2", frozenset(), [pool("compute-2")])
        there = children(running, "compute-2")[f"compute-2_{PF0}"]
        body = raw(running, "GET", f"/allocations/{mover['id']}")
        body["allocations"] = {there: {"resources": {"SRIOV_NET_VF": 1}}}
        raw(running, "PUT", f"/allocations/{mover['id']}", body)
        for port in early:
            document("detach", port["id"])
        assert booked(running) == {}
        assert list(raw(running, "GET", f"/allocations/{mover['id']}")["allocations"]) == [there]


def what_is_given_away(stored: Store) -> None:
    """Of what others have in Placement nothing is taken; of what is in use here neither."""
    none = "Placement offers none: they are allocated there, or published with other properties"
    with placement(stored) as running:
        foreign = book(running, PF0, 2)
        port = attach("vm1", "direct")
        assert port["pf"] == PF1
        others = {foreign: {f"{PF0} SRIOV_NET_VF": 2}}
        mine = {port["id"]: {f"{PF1} SRIOV_NET_VF": 1}}
        foreign = book(running, PF1, 1)
        others[foreign] = {f"{PF1} SRIOV_NET_VF": 1}

        full = smartvif(*ASK, "--explain")
        assert full.code == 1
        assert "error: SmartNICs: none of 4 VFs is suitable" in full.err
        last = "0000:05:00.1"
        in_use = f"in use by port {port['id']}"
        assert reasons(full) == {FIRST: none, SECOND: none, OF_SECOND_PF: in_use, last: none}
        refused(smartvif(*ASK, "--vf", FIRST), 4, none)
        assert booked(running) == {**others, **mine}
        assert document("reconcile")["ports"] == {}
        assert booked(running) == {**others, **mine}

        # What the host itself knows of a VF is the better reason.
        for capability, reason in {
            "HW_NIC_OFFLOAD_RDMA": "it lacks HW_NIC_OFFLOAD_RDMA",
            UNKNOWN: f"it is not known whether it has {UNKNOWN}",
        }.items():
            found = reasons(smartvif(*ASK, "--explain", "--capability", capability))
            assert found == {FIRST: reason, SECOND: reason, OF_SECOND_PF: in_use, last: reason}

        for owner in others:
            raw(running, "DELETE", f"/allocations/{owner}")
        taken = {FIRST: "p0r0", SECOND: "p0r1", last: "p1r1"}
        for netdev in taken.values():
            subprocess.run(["ovs-vsctl", "add-port", BRIDGE, netdev], check=True)
        held = reasons(smartvif(*ASK, "--explain"))
        by_bridge = f"in use by bridge {BRIDGE}, where its representor is"
        assert held == {**dict.fromkeys(taken, by_bridge), OF_SECOND_PF: in_use}
        assert booked(running) == mine
        publish()
        assert f"{HERE}_{PF0}" not in shown(running)
        assert shown(running)[f"{HERE}_{PF1}"][1]["SRIOV_NET_VF"] == 1
        subprocess.run(["ovs-vsctl", "del-port", "p0r1"], check=True)
        assert reasons(smartvif(*ASK, "--explain"))[SECOND] == none
        publish()
        assert attach("vm1", "direct")["vf"] == SECOND


@on_simulated_host("1x2", guests=1)
def test_what_comes_between(stored: Store) -> None:
    """The end of a process, or of Placement, leaves nothing that reconcile does not find."""
    a_process_dies(stored)
    placement_is_down(stored)


def a_process_dies(stored: Store) -> None:
    """Wherever it dies, reconcile brings Placement, the claims and the ports to agree."""
    start = host_state(host())
    moments = [
        (PlacementClaims, "claim", True),
        (PlacementClaims, "claim", False),
        (SqliteClaims, "claim", False),
        (SqliteClaims, "release", True),
        (SqliteClaims, "release", False),
        (PlacementClaims, "release", False),
    ]
    only_there = f"release a VF of {PF0}, which is claimed in Placement only"
    with placement(stored) as running:
        publish()
        for kind, method, before in moments:
            detaching = method == "release"
            port = attach("vm1", "direct")["id"] if detaching else None
            dies(
                (kind, method),
                before=before,
                work=lambda port=port: smartvif_in_process(port),  # type: ignore[misc]
            )
            orphans = dict.fromkeys(booked(running), only_there)
            there = reconcile(host(), dry_run=True)
            if not claims(host()):
                assert there.done == orphans, (method, before)
            else:
                assert list(there.done) == list(orphans), (method, before)
            assert reconcile(host()) == there
            assert booked(running) == {}, (method, before)
            assert host_state(host()) == start, (method, before)


def placement_is_down(stored: Store) -> None:
    """No VF is given without it; ports can be detached, and it is told later what is free again."""
    start = host_state(host())
    with ExitStack() as up:
        up.enter_context(placement(stored))
        normal = attach("vm1", "normal")
        direct = attach("vm1", "direct")
        before = host_state(host())
        with made_to_fail(up.close), pytest.raises(StepFailed, match="made to fail"):
            attach_one(host())
    assert host_state(host()) == before
    refused(smartvif(*ASK), 3, "no answer to GET")
    assert host_state(host()) == before
    another = attach("vm1", "normal")
    for port in (another, normal):
        answer = smartvif("detach", port["id"])
        assert answer == Answer(code=0, out="", err="")
    answer = smartvif("detach", direct["id"])
    assert (answer.code, answer.out) == (0, "")
    assert re.fullmatch(
        rf"WARNING: the claim of port {direct['id']} is not released: Placement: no answer to .*;"
        r" smartvif reconcile tries again\n",
        answer.err,
    ), answer
    assert host_state(host()) == start
    reconciled = document("reconcile", code=3)
    assert "no answer to GET" in reconciled["failed"]["claims"]["what"]

    with placement(stored) as running:
        # The attachment that failed has left its VF there, and the detached port.
        assert len(booked(running)) == 2
        only_there = dict.fromkeys(
            booked(running), f"release a VF of {PF0}, which is claimed in Placement only"
        )
        assert direct["id"] in only_there
        assert document("reconcile", "--dry-run")["ports"] == only_there
        assert len(booked(running)) == 2
        assert document("reconcile")["ports"] == only_there
        assert booked(running) == {}
        assert attach("vm1", "direct")["vf"] == FIRST
