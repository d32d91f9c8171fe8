"""The JSON documents of the commands keep their keys and the types of the values."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartvif.context import settings
from smartvif.demo.demo import NETWORK
from smartvif.sim.fleet import Fleet
from smartvif.sim.testing import on_simulated_hosts
from tests.support.commands import SMARTVIF, attach, document, join

GOLDEN = Path(__file__).parents[1] / "golden"
_MODES = ("normal", "direct", "virtio-forwarder")
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{4}:[0-9a-f:.]+")
_COUNTERS = "statistics"
"""The key of what a switch counts: its keys depend on the switch's version and the kind of port."""

Documents = dict[str, dict[str, Any]]


def shape(value: object, at: str = "") -> set[str]:
    """Every place in a document with the types it has there; all elements of a list are one."""
    if isinstance(value, dict):
        found = {f"{at}: object"}
        for key, each in value.items():
            name = "*" if _IDENTIFIER.fullmatch(key) or at.endswith(f".{_COUNTERS}") else key
            found |= shape(each, f"{at}.{name}")
        return found
    if isinstance(value, list):
        return {f"{at}: list"}.union(*(shape(each, f"{at}[]") for each in value))
    return {f"{at}: {type(value).__name__}"}


def places(shapes: set[str]) -> set[str]:
    """The places without their types."""
    return {each.partition(": ")[0] for each in shapes}


def typed(shapes: set[str]) -> set[str]:
    """The places with a type, which null is not."""
    return {each for each in shapes if not each.endswith(": NoneType")}


def receive(verb: str, offer: str) -> dict[str, Any]:
    """What this host answers to another's offer."""
    words = [str(SMARTVIF), "receive", verb]
    done = subprocess.run(words, input=offer, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def damaged(port: str) -> Iterator[None]:
    """In the body, the facts of the port cannot be read from the journal."""
    path = Path(settings.load().state.directory) / "state.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as journal:
        [(facts,)] = journal.execute("SELECT facts FROM ports WHERE id = ?", (port,)).fetchall()
        journal.execute("UPDATE ports SET facts = '{' WHERE id = ?", (port,))
        yield
        journal.execute("UPDATE ports SET facts = ? WHERE id = ?", (facts, port))


def of_one_host() -> Documents:
    """What the commands print where vm1 has a port of each mode on OVS and vm2 on the vRouter."""
    ports = {f"ovs-{mode}": attach("vm1", mode, "--explain") for mode in _MODES}
    ports |= {f"vrouter-{mode}": join("vm2", mode, NETWORK) for mode in _MODES}
    found = {f"attach-{name}": port for name, port in ports.items()}
    found |= {f"show-{name}": document("show", port["id"]) for name, port in ports.items()}
    found["show-rates"] = document("show", ports["ovs-virtio-forwarder"]["id"], "--rates")
    for words in ("ports", "map", "nic list", "nic capabilities", "device-spec"):
        found[words.replace(" ", "-")] = document(*words.split())
    check = ("--check", str(GOLDEN / "nova.conf"))
    found["device-spec-check"] = document("device-spec", *check)
    found["migrate-check"] = document("migrate", "--vm", "vm1", "--to", "host2", "--check")
    subprocess.run(["ovs-vsctl", "del-port", ports["ovs-direct"]["switch_port"]], check=True)
    found["ports-broken"] = document("ports", code=1)
    found["reconcile-dry-run"] = document("reconcile", "--dry-run")
    found["reconcile"] = document("reconcile")
    with damaged(ports["vrouter-normal"]["id"]):
        found["ports-damaged"] = document("ports", code=3)
        found["reconcile-damaged"] = document("reconcile", code=3)
    for name in ("vrouter-normal", "vrouter-direct", "vrouter-virtio-forwarder"):
        found[f"detach-{name}"] = document("detach", ports[name]["id"])
    found["migrate"] = document("migrate", "--vm", "vm1", "--to", "host2")
    return found


def of_a_receiver() -> Documents:
    """What a host answers to the offer that version 0.1.0 made of a machine that is not here."""
    offer = (GOLDEN / "offer.json").read_text()
    found = {"receive-examine": receive("examine", offer)}
    found["receive-prepare"] = receive("prepare", offer)
    found["receive-abandon"] = receive("abandon", offer)
    return found


@on_simulated_hosts(2, nic="2x4", guests=(2, 0))
def test_documents(fleet: Fleet) -> None:
    """Each document has the keys and types of the golden one.

    Keys may have been added since, and what is null follows what is there on the host.
    """
    here, other = fleet.hosts
    found = other.call(of_a_receiver) | here.call(of_one_host)
    golden = {path.stem: json.loads(path.read_text()) for path in GOLDEN.glob("documents/*.json")}
    assert found.keys() == golden.keys()
    for name, printed in found.items():
        assert printed["schema"] == golden[name]["schema"]
        there, wanted = shape(printed), shape(golden[name])
        assert places(wanted) <= places(there), name
        known = places(typed(wanted))
        assert {each for each in typed(there) if places({each}) <= known} == typed(wanted), name
