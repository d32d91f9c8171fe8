"""Claims in the real Placement, on MariaDB and on PostgreSQL; only errors are of a stand-in."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from databases import DATABASES
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from placement_service import Service, Store, service, store

from smartvif.choose.claims.store import Claim, ClaimState, ClaimStore
from smartvif.choose.placement import probe as placement_probe
from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement.claims import CONSUMER_TYPE, PlacementClaims
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model import traits
from smartvif.model.errors import CannotTell, Conflict, Failed, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType

DIRECT = traits.vnic_type(VnicType.DIRECT)
OVS, VROUTER = traits.datapath("ovs"), traits.datapath("vrouter")
PF0, PF1 = PciAddress.parse("0000:03:00.0"), PciAddress.parse("0000:81:00.1")
SPEED = 25_000_000
CONCURRENT = "placement.concurrent_update"


@pytest.fixture(scope="module", params=DATABASES)
def stored(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A database for Placement."""
    with store(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def running(stored: Store) -> Iterator[Service]:
    """A Placement that is set as it must be."""
    with service(stored) as found:
        yield found


@pytest.fixture
def host() -> str:
    """A host that no other test has."""
    return f"host-{uuid.uuid4().hex[:8]}"


def adapter(url: str, token: str = "admin") -> Adapter:  # noqa: S107
    """A way to a Placement that takes any token for its user's name."""
    return Adapter(Session(auth=Token(url, token)), service_type="placement")


def client(url: str, *, timeout: float = 30.0, **options: Any) -> PlacementClaims:
    """The engine at an address."""
    return PlacementClaims(adapter(url), project="p", user="u", timeout=timeout, **options)


@pytest.fixture
def engine(running: Service) -> PlacementClaims:
    """The engine at the Placement that runs."""
    found = client(running.url)
    _: ClaimStore = found
    return found


def raw(running: Service, method: str, path: str, body: object = None) -> Any:
    """What Placement says to a request that smartvif does not make."""
    answer = adapter(running.url).request(
        path, method, json=body, microversion="1.39", microversion_service_type="placement"
    )
    return answer.json() if answer.content else None


def pool(host: str, pf: PciAddress = PF0, **changed: Any) -> Pool:
    """Eight VFs in switchdev mode on physnet0."""
    total = changed.get("total", 8)
    default = Pool(
        host=host,
        pf=pf,
        device=DeviceType.VF,
        total=total,
        free=total,
        functions=tuple(replace(pf, slot=1 + n // 8, function=n % 8) for n in range(total)),
        traits=frozenset({traits.SRIOV, traits.SWITCHDEV, DIRECT}),
        physical_network="physnet0",
    )
    return replace(default, **changed)


def wanted(**changed: Any) -> DeviceRequest:
    """What a direct port on physnet0 needs."""
    default = DeviceRequest(
        id=str(uuid.uuid4()),
        device=DeviceType.VF,
        physical_network="physnet0",
        required=frozenset({DIRECT, traits.SWITCHDEV}),
        forbidden=frozenset({traits.REMOTE_MANAGED}),
    )
    return replace(default, **changed)


def claim(engine: PlacementClaims, host: str, *requests: DeviceRequest) -> tuple[Claim, ...]:
    """Choose on a host, and claim."""
    selection = select(engine.pools(requests, host), requests)
    assert selection.problem is None, selection.problem
    return engine.claim(selection.choices)


def free(
    engine: PlacementClaims, host: str, request: DeviceRequest | None = None
) -> dict[str, int]:
    """How many devices of each PF can be had for a request."""
    return {str(each.pf): each.free for each in engine.pools([request or wanted()], host)}


def name(host: str, pf: PciAddress = PF0) -> str:
    """The provider of a PF."""
    return f"{host}_{str(pf).upper()}"


def children(running: Service, host: str) -> dict[str, str]:
    """The providers below a host, by name."""
    [root] = raw(running, "GET", f"/resource_providers?name={host}")["resource_providers"]
    found = raw(running, "GET", f"/resource_providers?in_tree={root['uuid']}")["resource_providers"]
    return {each["name"]: each["uuid"] for each in found if each["name"] != host}


def has_traits(running: Service, provider: str) -> set[str]:
    """The traits of a provider."""
    return set(raw(running, "GET", f"/resource_providers/{provider}/traits")["traits"])


def generations(running: Service, host: str) -> list[int]:
    """How often each provider of a host was changed."""
    root = placement_provider.identity(host)
    found = raw(running, "GET", f"/resource_providers?in_tree={root}")["resource_providers"]
    return [each["generation"] for each in found]


# What a host has


def test_publish(engine: PlacementClaims, running: Service, host: str) -> None:
    """What was published can be had, by the names that stand for it; twice changes nothing."""
    pools = [pool(host, rate=SPEED), pool(host, PF1, total=4, physical_network="Phys.Net-1")]
    assert engine.publish(host, frozenset({OVS}), pools) == ()
    before = generations(running, host)
    assert engine.publish(host, frozenset({OVS}), pools) == ()
    assert generations(running, host) == before
    assert set(children(running, host)) == {name(host), name(host, PF1)}
    [found] = engine.pools([wanted()], host)[:1]
    assert found == replace(pools[0], functions=())
    [other] = [
        p for p in engine.pools([wanted(physical_network="phys.net-1")], host) if p.pf == PF1
    ]
    assert other == replace(pools[1], functions=(), physical_network="phys.net-1")
    assert engine.hosts(frozenset({OVS}))[host] == {OVS}


def test_publish_again(engine: PlacementClaims, running: Service, host: str) -> None:
    """What has changed is shown as it is now: traits, totals, speed, and the switch."""
    engine.publish(
        host, frozenset({OVS, traits.SMARTNIC, "CUSTOM_RACK_7"}), [pool(host, rate=SPEED)]
    )
    legacy = frozenset({traits.SRIOV, DIRECT})
    engine.publish(host, frozenset({VROUTER}), [pool(host, total=5, traits=legacy)])
    assert engine.pools([wanted()], host) == ()
    found = engine.pools([wanted(required=frozenset({DIRECT}))], host)
    assert found == (pool(host, total=5, traits=legacy, functions=()),)
    assert has_traits(running, placement_provider.identity(host)) == {VROUTER, "CUSTOM_RACK_7"}
    assert engine.hosts(frozenset({OVS, VROUTER}))[host] == {VROUTER}


def test_fewer_than_claimed(engine: PlacementClaims, host: str) -> None:
    """Where fewer VFs are left than are claimed, that is said, and nothing more is given."""
    engine.publish(host, frozenset(), [pool(host, rate=SPEED)])
    owners = [wanted(min_rate=1000) for _ in range(3)]
    claim(engine, host, *owners)
    notes = engine.publish(host, frozenset(), [pool(host, total=2)])
    assert notes == (
        f"{name(host)} has 0 NET_BW_EGR_KILOBIT_PER_SEC, and 3000 are promised",
        f"{name(host)} has 2 SRIOV_NET_VF, and 3 are promised",
    )
    assert engine.pools([wanted()], host) == ()
    engine.release(owners[0].id)
    engine.release(owners[1].id)
    assert free(engine, host) == {str(PF0): 1}
    assert engine.pools([wanted(min_rate=1)], host) == ()


def test_vanished(engine: PlacementClaims, running: Service, host: str) -> None:
    """A PF that is gone goes; where a VF of it is claimed, nothing more is given until it can."""
    engine.publish(host, frozenset(), [pool(host), pool(host, PF1)])
    owner = wanted(pf=str(PF1))
    claim(engine, host, owner)
    [note] = engine.publish(host, frozenset(), [])
    assert name(host, PF1) in note
    assert set(children(running, host)) == {name(host, PF1)}
    assert engine.pools([wanted()], host) == ()
    assert [each.owner for each in engine.claims(host)] == [owner.id]
    engine.release(owner.id)
    assert engine.publish(host, frozenset(), []) == ()
    assert children(running, host) == {}


def test_came_back(engine: PlacementClaims, host: str) -> None:
    """A PF that was gone, with a VF of it claimed, is given again when it is back."""
    engine.publish(host, frozenset(), [pool(host)])
    claim(engine, host, wanted())
    engine.publish(host, frozenset(), [])
    assert engine.publish(host, frozenset(), [pool(host)]) == ()
    assert free(engine, host) == {str(PF0): 7}


def test_several_pools_of_a_pf(engine: PlacementClaims, running: Service, host: str) -> None:
    """VFs that differ have a provider each, and a claim goes to the one chosen."""
    plain = pool(host, total=4, rate=SPEED)
    trusted = pool(
        host,
        total=2,
        functions=(PciAddress.parse("0000:03:01.6"), PciAddress.parse("0000:03:01.7")),
        traits=plain.traits | {traits.TRUSTED},
        rate=SPEED,
    )
    engine.publish(host, frozenset(), [trusted, plain])
    assert set(children(running, host)) == {name(host), f"{name(host)}_0000:03:01.6"}
    request = wanted(required=frozenset({DIRECT, traits.TRUSTED}))
    for one in (engine, client(running.url)):  # the second has not been shown the pools
        one.claim([Choice(request=replace(request, id=str(uuid.uuid4())), pool=trusted)])
    assert [p.free for p in engine.pools([wanted()], host) if traits.TRUSTED in p.traits] == [0]
    assert engine.pools([request], host) == ()
    # The PF's speed is there once.
    assert [each.rate for each in engine.pools([wanted()], host)] == [SPEED, None]
    with pytest.raises(Invalid, match="several pools"):
        engine.publish(host, frozenset(), [plain, replace(trusted, functions=())])


def test_a_whole_pf(engine: PlacementClaims, host: str) -> None:
    """A PF is not offered while a VF of it is claimed, nor a VF while the PF is."""
    whole = pool(host, device=DeviceType.PF, total=1, functions=(PF0,))
    engine.publish(host, frozenset(), [pool(host), whole])
    pf = wanted(device=DeviceType.PF, required=frozenset(), forbidden=frozenset())

    def offered() -> list[tuple[DeviceType, int]]:
        return sorted((each.device, each.free) for each in engine.pools([wanted()], host))

    assert offered() == [(DeviceType.PF, 1), (DeviceType.VF, 8)]
    [part] = claim(engine, host, wanted())
    assert offered() == [(DeviceType.PF, 0), (DeviceType.VF, 7)]
    engine.release(part.owner)
    [made] = claim(engine, host, pf)
    assert made.device is DeviceType.PF
    assert offered() == [(DeviceType.PF, 0), (DeviceType.VF, 0)]


def test_vdpa(engine: PlacementClaims, host: str) -> None:
    """A vDPA device is not a VF, and the other way round."""
    kind = traits.vnic_type(VnicType.VDPA)
    request = wanted(device=DeviceType.VDPA, required=frozenset({kind}))
    engine.publish(host, frozenset(), [pool(host)])
    assert engine.pools([request], host) == ()
    has = frozenset({traits.SWITCHDEV, kind})
    engine.publish(host, frozenset(), [pool(host, device=DeviceType.VDPA, traits=has)])
    assert engine.pools([wanted()], host) == ()
    [made] = claim(engine, host, request)
    assert made.device is DeviceType.VDPA
    assert engine.claims(host) == (made,)


# Whose providers


def test_novas_host(engine: PlacementClaims, running: Service, host: str) -> None:
    """Where nova-compute has the host already, PFs are below it, and what is Nova's stays."""
    root, pci = str(uuid.uuid4()), str(uuid.uuid4())
    raw(running, "POST", "/resource_providers", {"name": host, "uuid": root})
    below = {"name": f"{host}_0000:99:00.0", "uuid": pci, "parent_provider_uuid": root}
    raw(running, "POST", "/resource_providers", below)
    inventories = {"VCPU": {"total": 8}, "MEMORY_MB": {"total": 1024}}
    for uuid_ in (root, pci):
        body = {"resource_provider_generation": 0, "inventories": inventories}
        raw(running, "PUT", f"/resource_providers/{uuid_}/inventories", body)
        body = {"resource_provider_generation": 1, "traits": ["HW_CPU_X86_AVX2"]}
        raw(running, "PUT", f"/resource_providers/{uuid_}/traits", body)
    engine.publish(host, frozenset({OVS}), [pool(host)])
    assert claim(engine, host, wanted(host_traits=frozenset({OVS})))[0].pf == PF0
    engine.publish(host, frozenset({VROUTER}), [])
    assert has_traits(running, root) == {"HW_CPU_X86_AVX2", VROUTER}
    assert has_traits(running, pci) == {"HW_CPU_X86_AVX2"}
    for uuid_ in (root, pci):
        found = raw(running, "GET", f"/resource_providers/{uuid_}/inventories")["inventories"]
        assert {key: entry["total"] for key, entry in found.items()} == {
            "VCPU": 8,
            "MEMORY_MB": 1024,
        }
    assert [each.owner for each in engine.claims(host)] != []


def test_a_foreign_pf(engine: PlacementClaims, running: Service, host: str) -> None:
    """A PF that Nova tells Placement of itself is left alone, wherever it is."""
    engine.publish(host, frozenset(), [])
    theirs = {"name": name(host), "uuid": str(uuid.uuid4())}
    raw(running, "POST", "/resource_providers", theirs)
    with pytest.raises(Refused, match="not ours"):
        engine.publish(host, frozenset(), [pool(host)])
    raw(running, "DELETE", f"/resource_providers/{theirs['uuid']}")
    theirs["parent_provider_uuid"] = placement_provider.identity(host)
    raw(running, "POST", "/resource_providers", theirs)
    with pytest.raises(Refused, match="not ours"):
        engine.publish(host, frozenset(), [pool(host)])
    assert engine.pools([wanted()], host) == ()
    assert engine.claims(host) == ()


def test_no_host(engine: PlacementClaims, host: str) -> None:
    """What is no host is not taken for one."""
    engine.publish(host, frozenset(), [pool(host)])
    with pytest.raises(Refused, match="below another"):
        engine.publish(name(host), frozenset(), [])
    with pytest.raises(NotFound, match="knows no host"):
        engine.pools([wanted()], "nowhere")
    assert engine.claims("nowhere") == ()


def test_hosts(engine: PlacementClaims, running: Service, host: str) -> None:
    """All hosts are there, with a SmartNIC or without; what shares storage is none."""
    engine.publish(host, frozenset({OVS}), [pool(host)])
    engine.publish(f"{host}-plain", frozenset({VROUTER}), [])
    shared = str(uuid.uuid4())
    raw(running, "POST", "/resource_providers", {"name": f"{host}-nfs", "uuid": shared})
    body = {"resource_provider_generation": 0, "traits": ["MISC_SHARES_VIA_AGGREGATE"]}
    raw(running, "PUT", f"/resource_providers/{shared}/traits", body)
    asked = frozenset({OVS, VROUTER, "CUSTOM_UNHEARD_OF"})
    found = {key: has for key, has in engine.hosts(asked).items() if key.startswith(host)}
    assert found == {host: {OVS}, f"{host}-plain": {VROUTER}}
    assert set(engine.hosts()) >= {host, f"{host}-plain"}
    assert engine.pools([DeviceRequest(id="normal")]) == ()


# Who can have what


def test_candidates(engine: PlacementClaims, host: str) -> None:
    """Placement itself sorts out: by trait, what must not be, network, host, speed and number."""
    tunnels = frozenset({DIRECT, traits.SWITCHDEV, traits.TUNNELLED})
    legacy = frozenset({DIRECT, traits.SRIOV})
    hosts = [f"{host}-{letter}" for letter in "abc"]
    engine.publish(hosts[0], frozenset({OVS}), [pool(hosts[0], total=2, rate=1000)])
    engine.publish(hosts[1], frozenset({VROUTER}), [pool(hosts[1], total=1)])
    engine.publish(
        hosts[2],
        frozenset({OVS}),
        [pool(hosts[2], physical_network=None, traits=tunnels), pool(hosts[2], PF1, traits=legacy)],
    )

    def having(*requests: DeviceRequest) -> set[str]:
        found = {each.host for each in engine.pools(requests)}
        return {each.removeprefix(host) for each in found if each.startswith(host)}

    assert having(wanted()) == {"-a", "-b"}
    assert having(wanted(), wanted()) == {"-a"}
    assert having(wanted(), wanted(), wanted()) == set()
    assert having(wanted(host_traits=frozenset({VROUTER}))) == {"-b"}
    assert having(wanted(min_rate=1000)) == {"-a"}
    assert having(wanted(min_rate=600), wanted(min_rate=600)) == set()
    assert having(wanted(physical_network=None)) == {"-c"}
    no_switchdev = wanted(required=frozenset({DIRECT}), forbidden=frozenset({traits.SWITCHDEV}))
    assert having(no_switchdev) == {"-c"}
    assert having(wanted(required=frozenset({"CUSTOM_UNHEARD_OF"}))) == set()
    assert having(wanted(forbidden=frozenset({"CUSTOM_UNHEARD_OF"}))) == {"-a", "-b"}
    assert having(wanted(host_traits=frozenset({"CUSTOM_UNHEARD_OF"}))) == set()


# Claims


def test_claim(engine: PlacementClaims, running: Service, host: str) -> None:
    """Ports get devices, in the order of the choices; what they have can be read and given back."""
    engine.publish(host, frozenset(), [pool(host, rate=SPEED), pool(host, PF1)])
    requests = [wanted(min_rate=1000), wanted(pf=str(PF1)), wanted(min_rate=500)]
    made = claim(engine, host, *requests)
    expected = [(requests[0], PF0, 1000), (requests[1], PF1, 0), (requests[2], PF0, 500)]
    assert [(each.owner, each.pf, each.rate) for each in made] == [
        (request.id, pf, rate) for request, pf, rate in expected
    ]
    assert {(each.host, each.address, each.state) for each in made} == {
        (host, None, ClaimState.CLAIMED)
    }
    assert engine.claims(host) == tuple(sorted(made, key=lambda each: each.owner))
    assert free(engine, host) == {str(PF0): 6, str(PF1): 7}
    [left] = {each.rate for each in engine.pools([wanted()], host) if each.pf == PF0}
    assert left == SPEED - 1500
    found = raw(running, "GET", f"/allocations/{requests[0].id}")
    assert (found["consumer_type"], found["project_id"], found["user_id"]) == (
        CONSUMER_TYPE,
        "p",
        "u",
    )
    for _ in range(2):
        for request in requests:
            engine.release(request.id)
    assert engine.claims(host) == ()
    assert free(engine, host) == {str(PF0): 8, str(PF1): 8}
    assert engine.claim([]) == ()


def test_all_or_none(engine: PlacementClaims, host: str) -> None:
    """Of a machine's ports either all have a device or none; who comes too late is told."""
    engine.publish(host, frozenset(), [pool(host, total=2), pool(host, PF1, total=1)])
    first, second = [wanted(pf=str(PF0)), wanted(pf=str(PF1))], [wanted(), wanted(), wanted()]
    late = select(engine.pools(second, host), second)
    claim(engine, host, *first)
    with pytest.raises(Conflict, match="Unable to allocate inventory"):
        engine.claim(late.choices)
    assert len(engine.claims(host)) == 2


def test_claim_again(engine: PlacementClaims, running: Service, host: str) -> None:
    """After a crash the same claim changes nothing; another one takes the place of the first."""
    engine.publish(host, frozenset(), [pool(host), pool(host, PF1)])
    request = wanted()
    on = {each.pf: each for each in engine.pools([request], host)}
    engine.claim([Choice(request=request, pool=on[PF0])])
    before = generations(running, host)
    engine.claim([Choice(request=request, pool=on[PF0])])
    assert generations(running, host) == before
    engine.claim([Choice(request=request, pool=on[PF1]), Choice(request=wanted(), pool=on[PF1])])
    assert free(engine, host) == {str(PF0): 8, str(PF1): 6}


def test_a_consumer_without_allocations(engine: PlacementClaims, stored: Store, host: str) -> None:
    """A consumer that a killed Placement has left, and does not show, is in nobody's way."""
    engine.publish(host, frozenset(), [pool(host)])
    claim(engine, host, wanted())
    request = wanted()
    with sqlalchemy.create_engine(stored.connection).begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO consumers (uuid, project_id, user_id, generation)"
                " SELECT :uuid, project_id, user_id, 0 FROM consumers LIMIT 1"
            ),
            {"uuid": request.id},
        )
    assert claim(engine, host, request)[0].owner == request.id
    assert free(engine, host) == {str(PF0): 6}


def test_not_a_port(engine: PlacementClaims, running: Service, host: str) -> None:
    """What is somebody else's by its identifier is neither replaced nor given back."""
    engine.publish(host, frozenset(), [pool(host)])
    request = wanted()
    provider = placement_provider.identity(name(host))
    body = {
        "allocations": {provider: {"resources": {"SRIOV_NET_VF": 1}}},
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
        "project_id": "p",
        "user_id": "u",
    }
    raw(running, "PUT", f"/allocations/{request.id}", body)
    with pytest.raises(Refused, match="INSTANCE"):
        claim(engine, host, request)
    with pytest.raises(Refused, match="INSTANCE"):
        engine.release(request.id)
    assert free(engine, host) == {str(PF0): 7}


def test_gone_meanwhile(engine: PlacementClaims, running: Service, host: str) -> None:
    """A PF that goes between the choice and the claim is another's being quicker."""
    engine.publish(host, frozenset(), [pool(host)])
    request = wanted()
    chosen = select(engine.pools([request], host), [request]).choices
    client(running.url).publish(host, frozenset(), [])
    for _ in range(2):  # known from before, and not
        with pytest.raises(Conflict, match="not there any more"):
            engine.claim(chosen)


def test_claims_at_once(running: Service, host: str) -> None:
    """Threads that claim all there is at the same time get all of it, and not more."""
    client(running.url).publish(host, frozenset(), [pool(host)])
    made, lost = list[Claim](), list[str]()

    def run() -> None:
        engine = client(running.url)
        for _ in range(3):
            request = wanted()
            selection = select(engine.pools([request], host), [request])
            try:
                made.extend(engine.claim(selection.choices))
            except Conflict as error:
                lost.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(client(running.url).claims(host)) == 8
    assert all("Unable to allocate inventory" in each for each in lost)


# Whether it over-allocates


def test_examine(engine: PlacementClaims, running: Service) -> None:
    """Placement as it must be set is found to be so, and nothing is left of the finding out."""
    # It may be that the claims did not meet; three times in a row it hardly is.
    for number in range(3):
        try:
            engine.examine()
            break
        except CannotTell:
            assert number < 2
    left = raw(running, "GET", "/resource_providers")["resource_providers"]
    assert [each["name"] for each in left if each["name"].startswith("smartvif-probe")] == []
    client(running.url, config=running.config).examine()


def test_examine_the_default(stored: Store) -> None:
    """Placement as it comes gives one thing twice, and is refused."""
    with service(stored, retries=10) as wrong:
        with pytest.raises(Refused, match="what is there once") as caught:
            client(wrong.url).examine()
        assert "allocation_conflict_retry_count = 1" in caught.value.hint
        left = raw(wrong, "GET", "/resource_providers")["resource_providers"]
        assert [each["name"] for each in left if each["name"].startswith("smartvif-probe")] == []
        with pytest.raises(Refused, match="sets 10"):
            client(wrong.url, config=wrong.config).examine()


def test_examine_one_at_a_time(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where claims cannot meet, nobody can tell."""
    monkeypatch.setattr(placement_probe, "_MOST", 5)
    with (
        service(stored, workers=1, threads=1) as single,
        pytest.raises(CannotTell, match="only 0 times"),
    ):
        client(single.url).examine()


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[placement]\n", Refused, "does not set"),
        ("[DEFAULT]\nallocation_conflict_retry_count = 1\n", Refused, "does not set"),
        ("[placement]\nallocation_conflict_retry_count = 2\n", Refused, "sets 2"),
        ("[placement]\nallocation_conflict_retry_count = one\n", CannotTell, "invalid literal"),
        ("[placement\n", CannotTell, "not a section"),
        (None, CannotTell, "No such file"),
    ],
)
def test_examine_the_file(
    text: str | None, error: type[Exception], match: str, tmp_path: Path
) -> None:
    """A configuration file that says otherwise, or nothing, or cannot be read."""
    path = tmp_path / "placement.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=match):
        client("http://127.0.0.1:9", config=path).examine()


# What goes wrong


class Stand:
    """A server that gives the next of its answers to each request, and the last for ever."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.requests: list[str] = []
        self._answers = deque(answers)
        stand = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stand.requests.append(f"{self.command} {self.path}")
                status, text = stand.next()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next(self) -> tuple[int, str]:
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def __enter__(self) -> Stand:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def refusal(status: int, detail: str, code: str = "placement.undefined_code") -> tuple[int, str]:
    """An error as Placement says it."""
    return status, json.dumps({"errors": [{"status": status, "detail": detail, "code": code}]})


def test_nobody_there() -> None:
    """Where nobody listens, nobody can tell."""
    with Stand((200, "{}")) as stand:
        url = stand.url
    with pytest.raises(CannotTell, match="no answer to GET") as caught:
        client(url).hosts()
    assert caught.value.where == "Placement"


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        ((500, "oops"), CannotTell, "500 oops"),
        (refusal(503, "no database"), CannotTell, "no database"),
        ((200, "<html>hello</html>"), CannotTell, "200 '<html>hello</html>'"),
        ((200, "[]"), CannotTell, r"200 '\[\]'"),
        ((200, "{}"), CannotTell, "has no traits"),
        ((404, "<html>nothing here</html>"), CannotTell, "404 '<html>"),
        ((401, "who?"), Failed, "401 Unauthorized: 401 who"),
        (refusal(403, "not you"), Failed, "403 Forbidden: not you"),
        (refusal(406, "too new"), Failed, "406 Not Acceptable: too new"),
        (refusal(400, "bad\n  words "), Failed, "400 Bad Request: bad words$"),
        (refusal(409, "quicker"), Conflict, "quicker"),
    ],
)
def test_other_answers(answer: tuple[int, str], error: type[Exception], match: str) -> None:
    """An error has Placement's own words; whoever else answers is not Placement."""
    with Stand(answer) as stand, pytest.raises(error, match=match):
        client(stand.url).hosts()


def test_not_found_by_somebody_else() -> None:
    """That a proxy finds nothing does not mean that a port has nothing."""
    held = {
        "allocations": {"x": {"resources": {"SRIOV_NET_VF": 1}}},
        "consumer_generation": 1,
        "consumer_type": CONSUMER_TYPE,
    }
    proxy = Stand((200, json.dumps(held)), (404, "<html>"))
    with proxy as stand, pytest.raises(CannotTell, match="404"):
        client(stand.url).release("p")
    with Stand((200, json.dumps(held)), refusal(404, "none")) as stand:
        client(stand.url).release("p")


def test_a_short_failure() -> None:
    """What the service fails at once is asked again, and a refusal is not."""
    with Stand((503, ""), (502, ""), (200, '{"allocations": {}}')) as stand:
        client(stand.url).release("p")
        assert stand.requests == ["GET /allocations/p"] * 3
    with Stand((503, "")) as stand:
        with pytest.raises(CannotTell):
            client(stand.url).release("p")
        assert len(stand.requests) == 3


def test_always_too_late() -> None:
    """Who loses every time is told so when the time is up."""
    conflict = refusal(409, "resource provider generation conflict", CONCURRENT)
    root = {"uuid": "r", "name": "h", "parent_provider_uuid": None, "root_provider_uuid": "r"}
    pf = {"uuid": placement_provider.identity(name("h")), "name": name("h")}
    pf |= {"parent_provider_uuid": "r", "root_provider_uuid": "r"}
    has = {"traits": sorted(pool("h").traits)}
    tree = [{"resource_providers": [root]}, {"resource_providers": [root, pf]}, has]
    with Stand(*((200, json.dumps(each)) for each in tree), conflict) as stand:
        with pytest.raises(Conflict, match="all the time"):
            client(stand.url, timeout=0.5).claim([Choice(request=wanted(), pool=pool("h"))])
        assert stand.requests.count("POST /allocations") > 1


def test_a_lost_answer(engine: PlacementClaims, running: Service, host: str) -> None:
    """A claim that was made, whose answer was lost, is found to be made when it is tried again."""
    engine.publish(host, frozenset(), [pool(host)])
    request = wanted()
    chosen = select(engine.pools([request], host), [request]).choices
    engine.claim(chosen)
    assert client(running.url).claim(chosen) == engine.claims(host)


def test_wrong_token(running: Service) -> None:
    """Who may not ask is told so in Placement's words."""
    nobody = PlacementClaims(adapter(running.url, "somebody"), project="p", user="u")
    with pytest.raises(Failed, match="403 Forbidden") as caught:
        nobody.hosts()
    assert "role" in caught.value.hint
