"""Claims in the real Placement, on MariaDB and on PostgreSQL."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from smartvif.choose.claims.store import Claim, ClaimState
from smartvif.choose.placement import probe as placement_probe
from smartvif.choose.placement import providers as placement_provider
from smartvif.choose.placement.claims import CONSUMER_TYPE, PlacementClaims
from smartvif.choose.selection.pool import Choice
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model import traits
from smartvif.model.errors import CannotTell, Conflict, Failed, Invalid, NotFound, Refused
from smartvif.model.pci import PciAddress
from smartvif.model.port import VnicType
from tests.support.placement import (
    DIRECT,
    OVS,
    PF0,
    PF1,
    SPEED,
    VROUTER,
    adapter,
    children,
    claim,
    client,
    free,
    generations,
    has_traits,
    name,
    pool,
    raw,
    wanted,
)
from tests.support.placement_service import Service, Store, service

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
        f"{name(host)} has 0 NET_BW_EGR_KILOBIT_PER_SEC, and 3000 are allocated",
        f"{name(host)} has 2 SRIOV_NET_VF, and 3 are allocated",
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
    """Ports get devices, in the order of the choices; what they have can be read and released."""
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
    """What has another owner by its identifier is neither replaced nor released."""
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


def test_check(engine: PlacementClaims, running: Service) -> None:
    """Placement as it must be set is found to be so, and nothing is left of the finding out."""
    # It may be that the claims did not meet; three times in a row it hardly is.
    for number in range(3):
        try:
            engine.check()
            break
        except CannotTell:
            assert number < 2
    left = raw(running, "GET", "/resource_providers")["resource_providers"]
    assert [each["name"] for each in left if each["name"].startswith("smartvif-probe")] == []
    client(running.url, config=running.config).check()


def test_check_the_default(stored: Store) -> None:
    """Placement as it comes gives one thing twice, and is refused."""
    with service(stored, retries=10) as wrong:
        with pytest.raises(Refused, match="claims got one device") as caught:
            client(wrong.url).check()
        assert "allocation_conflict_retry_count = 1" in caught.value.hint
        left = raw(wrong, "GET", "/resource_providers")["resource_providers"]
        assert [each["name"] for each in left if each["name"].startswith("smartvif-probe")] == []
        with pytest.raises(Refused, match="sets 10"):
            client(wrong.url, config=wrong.config).check()


def test_check_one_at_a_time(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where claims cannot be concurrent, the result is unknown."""
    monkeypatch.setattr(placement_probe, "_MOST", 5)
    with (
        service(stored, workers=1, threads=1) as single,
        pytest.raises(CannotTell, match="only 0 had a conflict"),
    ):
        client(single.url).check()


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
def test_check_the_file(
    text: str | None, error: type[Exception], match: str, tmp_path: Path
) -> None:
    """A configuration file that says otherwise, or nothing, or cannot be read."""
    path = tmp_path / "placement.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=match):
        client("http://127.0.0.1:9", config=path).check()


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
