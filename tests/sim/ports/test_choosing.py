"""Which VF a port gets on a simulated host, and what becomes of the claim."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import ClaimState
from smartvif.context import settings
from smartvif.demo.demo import host_state
from smartvif.model.errors import SmartvifError
from smartvif.operations.reconcile import reconcile
from smartvif.plug.each_port import Report
from smartvif.plug.journal import Journal
from smartvif.sim.host import BRIDGE, CONFIG
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
from tests.support.commands import attach, document, host, refused, smartvif


def configure(pci: str) -> None:
    """Our configuration with this in its section [pci]."""
    path = Path(f"{CONFIG}.choosing")
    path.write_text(f"{CONFIG.read_text()}\n[pci]\n{pci}\n")
    os.environ["SMARTVIF_CONFIG"] = str(path)


@on_simulated_host("2x2", guests=1)
def test_ports_are_spread_or_packed() -> None:
    """By default the PF that is used least is next; ``pack`` fills one before the next."""
    spread = [attach("vm1", "direct") for _ in range(3)]
    assert [port["pf"][-1] for port in spread] == ["0", "1", "0"]
    for port in spread:
        document("detach", port["id"])
    configure('policy = "pack"')
    packed = [attach("vm1", "direct") for _ in range(3)]
    assert [port["pf"][-1] for port in packed] == ["0", "0", "1"]
    configure('policy = "random"')
    refused(smartvif(*ASK), 2, "policy in .pci. is 'random'")


@on_simulated_host("3x2,legacy=1", guests=1)
def test_by_capability() -> None:
    """A port gets a VF that has what it asks for, or an error that says who lacks what."""
    allowed = [
        '\'{"address": "0000:03:00.0", "physical_network": null}\'',
        '\'{"address": "0000:03:00.1", "physical_network": null, "traits": "gold"}\'',
        '\'{"address": "0000:03:00.2", "physical_network": null, "traits": "gold"}\'',
    ]
    configure(f"device_spec = [{', '.join(allowed)}]")
    pools = document("nic", "capabilities")["pools"]
    assert [("HW_NIC_OFFLOAD_SWITCHDEV" in pool["capabilities"]) for pool in pools] == [
        *(True, False) * 2,
        *(False, False),
    ]
    gold = [attach("vm1", "direct", "--capability", "CUSTOM_GOLD") for _ in range(2)]
    assert {port["pf"] for port in gold} == {"0000:03:00.1"}
    assert gold[0]["needs"]["capabilities"] == ["CUSTOM_GOLD"]
    # The third PF is gold as well, and in legacy mode.
    none = smartvif(*ASK, "--capability", "CUSTOM_GOLD")
    refused(none, 1, "none of 6 VFs is suitable")
    for words in (
        f"{FIRST} and 1 more: it lacks CUSTOM_GOLD",
        f"{OF_SECOND_PF}: in use by port {gold[0]['id']}",
        "0000:06:00.0 and 1 more: its eswitch is not in switchdev mode",
    ):
        assert words in none.err
    rdma = smartvif(*ASK, "--capability", "HW_NIC_OFFLOAD_RDMA")
    refused(rdma, 1, "none of 6 VFs is suitable")
    refused(smartvif(*ASK, "--capability", "rdma"), 2, "'rdma' is not the name of a capability")
    trusted = smartvif(*ASK, "--trusted")
    assert "it may not be trusted" in trusted.err
    plain = attach("vm1", "direct")
    assert plain["pf"] == "0000:03:00.0"


@on_simulated_host("1x4", guests=1)
def test_on_a_physical_network() -> None:
    """A VF is for the network that the list says, for tunnels where it says null, or for none."""
    entry = '{"address": "0000:04:00.%d"%s}'
    tags = (', "physical_network": "physnet1"', ', "physical_network": null', "", "")
    entries = ", ".join(f"'{entry % (number, tag)}'" for number, tag in enumerate(tags))
    configure(f"device_spec = [{entries}]")
    assert attach("vm1", "direct", "--physical-network", "PhysNet1")["vf"] == FIRST
    assert attach("vm1", "direct")["vf"] == SECOND
    for asked in ((), ("--physical-network", "physnet1")):
        refused(smartvif(*ASK, *asked), 1, "none of 4 VFs is suitable")
    assert "for tunnels it must say null" in smartvif(*ASK).err


@on_simulated_host("2x2", guests=1)
def test_rates_are_counted() -> None:
    """More than a PF's speed is not guaranteed, and what is detached can be guaranteed again."""
    speed = document("nic", "capabilities")["pools"][0]["rate"]
    most = str(speed * 3 // 4)
    ports = [attach("vm1", "direct", "--min-rate", most) for _ in range(2)]
    assert {port["pf"][-1] for port in ports} == {"0", "1"}
    none = smartvif(*ASK, "--min-rate", most)
    refused(none, 1, "none of 4 VFs is suitable")
    assert f"{speed - speed * 3 // 4} kbit/s of its PF are left, and {most} are needed" in none.err
    document("detach", ports[0]["id"])
    assert attach("vm1", "direct", "--min-rate", most)["pf"] == ports[0]["pf"]
    refused(smartvif(*ASK, "--min-rate", "-1"), 2, "-1 kbit/s is no rate")


@on_simulated_host("2x2", guests=1)
def test_explained() -> None:
    """Of every VF it is said why it was not taken; where none is, as well."""
    first = attach("vm1", "direct")
    port = attach("vm1", "direct", "--explain", "--pf", "p0")
    reasons = {each["address"]: each["reason"] for each in port["candidates"]}
    assert reasons == {
        FIRST: f"in use by port {first['id']}",
        SECOND: None,
        OF_SECOND_PF: "it is of another PF than p0",
        "0000:05:00.1": "it is of another PF than p0",
    }
    told = smartvif(*ASK, "--explain", "--pf", "p0").err.splitlines()
    assert told[1] == f"{SECOND}  in use by port {port['id']}"
    assert told[-2] == "error: SmartNICs: none of 2 VFs is suitable"
    fits = smartvif(*ASK, "--explain").err.splitlines()
    assert f"{OF_SECOND_PF}  taken" in fits
    refused(smartvif(*ASK[:4], "normal", *ASK[5:], "--trusted"), 2, "mode normal takes no VF")


@on_simulated_host("1x2", guests=1)
def test_claims_follow_ports() -> None:
    """A VF is allocated while its port is attached, and free before and afterwards."""
    here = host()
    port = attach("vm1", "direct")
    assert claims(here) == {FIRST: (port["id"], ClaimState.ALLOCATED)}
    attach("vm1", "normal")
    document("detach", port["id"])
    assert claims(here) == {}


@on_simulated_host("1x2", guests=1)
def test_a_process_that_dies_with_a_claim() -> None:
    """Wherever it dies, reconcile brings claims and ports to agree, and no VF is lost."""
    start = host_state(host())
    moments = [
        (SqliteClaims, "publish"),
        (SqliteClaims, "claim"),
        (Journal, "begin"),
        (SqliteClaims, "allocate"),
        (SqliteClaims, "release"),
        (Journal, "forget"),
    ]
    for at in moments:
        for before in (True, False):
            detaching = at[1] in ("release", "forget")
            port = attach("vm1", "direct")["id"] if detaching else None
            dies(
                at,
                before=before,
                work=lambda port=port: smartvif_in_process(port),  # type: ignore[misc]
            )
            reconcile(host(), dry_run=True)
            reconcile(host())
            ports = {str(each.vf): each.id for each in host().journal.ports()}
            assert claims(host()) == {
                vf: (owner, ClaimState.ALLOCATED) for vf, owner in ports.items()
            }, (at, before)
            for each in ports.values():
                document("detach", each)
            assert host_state(host()) == start, (at, before)
            assert reconcile(host()) == Report()


@on_simulated_host("1x2", guests=1)
def test_lost_and_foreign() -> None:
    """A lost store is written again from the journal; a VF that is in use is not released."""
    port = attach("vm1", "direct", "--min-rate", "1000")
    store = Path(settings.load().state.directory) / "claims.db"
    for path in store.parent.glob("claims.db*"):
        path.unlink()
    done = {port["id"]: f"record again that it has VF {FIRST}"}
    assert document("reconcile", "--dry-run")["ports"] == done
    # Even before, no other port gets it.
    refused(smartvif(*ASK, "--vf", FIRST), 4, f"in use by port {port['id']}")
    for path in store.parent.glob("claims.db*"):
        path.unlink()
    assert document("reconcile")["ports"] == done
    (again,) = host().claims.claims()
    assert (again.owner, again.state, again.rate) == (port["id"], ClaimState.ALLOCATED, 1000)

    # One that the journal does not know, and whose VF was put into a switch by hand.
    dies((Journal, "begin"), before=True, work=lambda: attach_one(host()))
    (orphan,) = (each for each in host().claims.claims() if each.owner != port["id"])
    subprocess.run(["ovs-vsctl", "add-port", BRIDGE, "p0r1"], check=True)
    kept = smartvif("reconcile")
    assert "in use by bridge br-int" in kept.err
    assert str(orphan.address) in claims(host())
    subprocess.run(["ovs-vsctl", "del-port", "p0r1"], check=True)
    done = document("reconcile")["ports"]
    assert done == {orphan.owner: f"release VF {SECOND}: its process died"}
    assert list(claims(host())) == [FIRST]


@on_simulated_host("1x2", guests=1)
def test_a_living_process_keeps_its_claim() -> None:
    """A port that another process is at work on is left alone, whatever the journal says of it."""
    here = host()
    with here.journal.locked("port"):
        attach("vm1", "direct")
        (claimed,) = here.claims.claims()
        here.claims.release(claimed.owner)
        with here.journal.locked(claimed.owner):
            assert document("reconcile")["ports"] == {}
    with pytest.raises(SmartvifError):
        here.claims.allocate(claimed.owner)
