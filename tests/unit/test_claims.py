"""The store of claims: what it gives to whom, a model of it, what can be wrong with its file."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import Claim, ClaimState, ClaimStore
from smartvif.choose.selection.pool import Choice, Pool
from smartvif.choose.selection.request import DeviceRequest, DeviceType
from smartvif.choose.selection.select import select
from smartvif.model.errors import (
    CannotTell,
    Conflict,
    Invalid,
    NotFound,
    Refused,
    SmartvifError,
)
from smartvif.model.pci import PciAddress

HOST = "compute-1"
PF, VF, VDPA = DeviceType.PF, DeviceType.VF, DeviceType.VDPA
P0, P1 = (PciAddress(0, 3, 0, number) for number in range(2))
VFS = tuple(PciAddress(0, 4, 0, number) for number in range(4))
VDPAS = (PciAddress(0, 4, 1, 0),)
HELD = "in use by bridge br-int"


def pool(
    *functions: PciAddress,
    device: DeviceType = VF,
    pf: PciAddress = P0,
    held: Mapping[PciAddress, str] | None = None,
    rate: int | None = None,
    host: str = HOST,
) -> Pool:
    """A pool of these functions, as it is published."""
    return Pool(
        host=host,
        pf=pf,
        device=device,
        total=len(functions) + len(held or {}),
        free=len(functions),
        functions=functions,
        held=held or {},
        rate=rate,
    )


WHOLE, VIRTUAL, VDPA_POOL = pool(P0, device=PF), pool(*VFS), pool(*VDPAS, device=VDPA)
CARD = (WHOLE, VIRTUAL, VDPA_POOL)


def choice(
    owner: str, of: Pool = VIRTUAL, *, vf: PciAddress | None = None, rate: int = 0
) -> Choice:
    """The port is to have a function of the pool."""
    request = DeviceRequest(id=owner, device=of.device, vf=vf, min_rate=rate)
    return Choice(request=request, pool=of)


def anything(of: Pool) -> Pool:
    """The pool without the addresses of its functions, as it is where all hosts are asked."""
    return replace(of, functions=(), held={})


def owned(claims: SqliteClaims) -> dict[PciAddress | None, str]:
    """Whose each function is."""
    return {claim.address: claim.owner for claim in claims.claims()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is; its directory is not there yet."""
    return tmp_path / "state" / "claims.db"


@pytest.fixture
def claims(path: Path) -> Iterator[SqliteClaims]:
    """The store of one host with a card: a PF, four VFs and a vdpa device."""
    claims = SqliteClaims(path)
    claims.publish(HOST, CARD)
    yield claims
    claims.close()


def test_it_is_an_engine(claims: SqliteClaims) -> None:
    """What is chosen from its pools can be claimed, as from any engine."""
    engine: ClaimStore = claims
    claims.publish(HOST, [WHOLE, replace(VIRTUAL, physical_network="blue")])
    request = DeviceRequest(id="a", device=VF, physical_network="blue")
    selection = select(engine.pools([request], HOST), [request])
    (claim,) = engine.claim(selection.choices)
    assert claim == Claim(
        owner="a", host=HOST, pf=P0, device=VF, address=VFS[0], state=ClaimState.CLAIMED
    )
    assert claims.claims() == claims.claims(HOST) == (claim,)
    assert claims.claims("elsewhere") == ()
    assert engine.claim([]) == ()


def test_pools_are_as_published(claims: SqliteClaims) -> None:
    """A pool's properties come back, of its host and of all; of all hosts without addresses."""
    full = replace(
        pool(*VFS[:2], held={VFS[3]: HELD, VFS[2]: ""}, rate=1000, pf=P1, host="b"),
        netdev="p1",
        numa_node=1,
        traits=frozenset({"HW_NIC_SRIOV", "CUSTOM_X"}),
        unknown=frozenset({"CUSTOM_Y"}),
        physical_network="blue",
        drawback="its link is down",
    )
    other = replace(full, functions=(VDPAS[0],), total=1, free=1, held={}, drawback=None)
    claims.publish("b", [full, other])
    assert claims.pools((), "b") == (full, other)
    counted = tuple(anything(each) for each in (full, other))
    assert tuple(each for each in claims.pools(()) if each.host == "b") == counted
    assert claims.pools((), "nowhere") == ()


def test_a_pool_says_why_not(claims: SqliteClaims) -> None:
    """Each function that cannot be had has its reason, and a whole PF that of its parts."""
    claims.publish(HOST, [WHOLE, pool(*VFS[1:], held={VFS[0]: HELD}), VDPA_POOL])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert whole.held == {P0: f"a VF of it cannot be had: {HELD}"}
    assert virtual.held == {VFS[0]: HELD}
    assert vdpa.functions == VDPAS
    claims.publish(HOST, CARD)
    claims.claim([choice("a", vf=VFS[2])])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert (whole.total, whole.free, whole.held) == (1, 0, {P0: "a VF of it is in use by port a"})
    assert (virtual.total, virtual.free) == (4, 3)
    assert virtual.functions == (VFS[0], VFS[1], VFS[3])
    assert virtual.held == {VFS[2]: "in use by port a"}
    claims.release("a")
    claims.claim([choice("b", WHOLE)])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert whole.held == {P0: "in use by port b"}
    assert set(virtual.held.values()) == {"its PF is in use by port b"}
    assert (virtual.free, vdpa.free) == (0, 0)


def data_version(db: sqlite3.Connection) -> int:
    """A number that changes whenever another connection has written (sqlite.org/pragma.html)."""
    ((number,),) = db.execute("PRAGMA data_version").fetchall()
    return int(number)


def test_publishing_the_same_writes_nothing(claims: SqliteClaims, path: Path) -> None:
    """In another order it is the same; anything that differs is written."""
    db = sqlite3.connect(path)
    before = data_version(db)
    claims.publish(HOST, CARD)
    claims.publish(HOST, [VDPA_POOL, replace(VIRTUAL, functions=VFS[::-1]), WHOLE])
    assert data_version(db) == before
    for changed in (
        replace(VIRTUAL, rate=1),
        replace(VIRTUAL, drawback="old"),
        pool(*VFS[1:], held={VFS[0]: HELD}),
        pool(*VFS[1:]),
    ):
        claims.publish(HOST, [changed])
        expected = replace(changed, free=len(changed.functions))
        assert claims.pools((), HOST) == (expected,)
        assert data_version(db) != before
        before = data_version(db)
    db.close()


def test_what_vanishes_is_forgotten(claims: SqliteClaims) -> None:
    """A function that is not published any more is gone; one that a port has, when it is freed."""
    claims.claim([choice("a", vf=VFS[0]), choice("b", vf=VFS[1])])
    claims.allocate("b")
    claims.publish(HOST, [pool(VFS[3])])
    assert owned(claims) == {VFS[0]: "a", VFS[1]: "b"}
    assert claims.pools((), HOST)[0].total == 3
    with pytest.raises(Conflict):
        claims.claim([choice("c", vf=VFS[2])])
    claims.release("a")
    claims.release("b")
    assert claims.pools((), HOST) == (pool(VFS[3]),)
    claims.publish(HOST, ())
    assert claims.pools((), HOST) == claims.pools(()) == ()


def test_what_returns_is_as_it_was(claims: SqliteClaims) -> None:
    """A function that vanished and is published again while a port had it can be had after it."""
    claims.claim([choice("a", vf=VFS[0])])
    claims.publish(HOST, [WHOLE])
    claims.publish(HOST, CARD)
    claims.release("a")
    assert claims.pools((), HOST)[1] == VIRTUAL


def test_a_try_again_forgets_what_vanished(claims: SqliteClaims) -> None:
    """What a port gives up because it tries again is forgotten if it is there no more."""
    claims.claim([choice("a", vf=VFS[0])])
    claims.publish(HOST, [pool(*VFS[1:])])
    (claim,) = claims.claim([choice("a")])
    assert claim.address == VFS[1]
    assert claims.pools((), HOST)[0].total == 3


def test_other_hosts_are_left_alone(claims: SqliteClaims) -> None:
    """Publishing one host changes nothing of another with the same addresses."""
    claims.publish("b", [pool(*VFS, host="b")])
    claims.claim([choice("a", pool(*VFS, host="b"))])
    claims.publish(HOST, ())
    assert owned(claims) == {VFS[0]: "a"}
    assert claims.pools((), "b")[0].functions == VFS[1:]
    assert [claim.host for claim in claims.claims()] == ["b"]
    assert claims.claims(HOST) == ()


def test_the_first_listed_that_is_free(claims: SqliteClaims) -> None:
    """The caller's order counts, and what the caller leaves out is not given."""
    claims.claim([choice("a", vf=VFS[2])])
    listed = replace(VIRTUAL, functions=(VFS[2], VFS[3], VFS[0]))
    claims.claim([choice("b", listed), choice("c", listed)])
    assert owned(claims) == {VFS[2]: "a", VFS[3]: "b", VFS[0]: "c"}
    with pytest.raises(Conflict, match="no VF is free any more") as caught:
        claims.claim([choice("d", listed)])
    assert caught.value.where == f"PF {P0} of {HOST}"
    assert caught.value.hint == "choose again"


def test_the_lowest_where_none_is_listed(claims: SqliteClaims) -> None:
    """As the bus is ordered: domain 10000 comes after ffff."""
    far, near = PciAddress(0x10000, 0, 0, 1), PciAddress(0xFFFF, 0, 0, 1)
    claims.publish(HOST, [pool(far, near)])
    counted = claims.pools(())[0]
    assert counted.functions == ()
    first, second = claims.claim([choice("a", counted), choice("b", counted)])
    assert (first.address, second.address) == (near, far)


def test_the_named_is_had_by_who_named_it(claims: SqliteClaims) -> None:
    """A VF that one port names goes to it, though another port is before it in the choices."""
    found = claims.claim([choice("a"), choice("b", vf=VFS[0])])
    assert [(claim.owner, claim.address) for claim in found] == [("a", VFS[1]), ("b", VFS[0])]
    with pytest.raises(Conflict, match=f"{VFS[0]} is not free any more"):
        claims.claim([choice("c", vf=VFS[0])])
    with pytest.raises(Conflict, match=f"{P1} is not free any more"):
        claims.claim([choice("c", vf=P1)])


def test_what_is_held_is_not_given(claims: SqliteClaims) -> None:
    """Neither by name nor otherwise; a PF that is held still has VFs to give."""
    claims.publish(HOST, [pool(held={P0: HELD}, device=PF), pool(VFS[1], held={VFS[0]: HELD})])
    held_pool = replace(VIRTUAL, functions=VFS[:2])
    for wanted in (
        choice("a", held_pool, vf=VFS[0]),
        choice("a", replace(held_pool, functions=VFS[:1])),
        choice("a", WHOLE),
    ):
        with pytest.raises(Conflict):
            claims.claim([wanted])
    (claim,) = claims.claim([choice("a", held_pool)])
    assert claim.address == VFS[1]


@pytest.mark.parametrize("part", [VIRTUAL, VDPA_POOL])
def test_a_whole_pf_or_its_parts(claims: SqliteClaims, part: Pool) -> None:
    """A PF cannot be had while a function of it is taken, nor a function while the PF is."""
    claims.claim([choice("a", part)])
    with pytest.raises(Conflict):
        claims.claim([choice("b", WHOLE)])
    claims.release("a")
    claims.claim([choice("b", WHOLE)])
    with pytest.raises(Conflict):
        claims.claim([choice("a", part)])
    claims.release("b")
    for both in ([choice("a", part), choice("b", WHOLE)], [choice("b", WHOLE), choice("a", part)]):
        with pytest.raises(Conflict):
            claims.claim(both)
    assert claims.claims() == ()


def test_a_whole_pf_of_which_a_part_is_held(claims: SqliteClaims) -> None:
    """A VF that something outside uses keeps its PF from being given; another PF's does not."""
    claims.publish(HOST, [WHOLE, pool(held={VFS[0]: HELD})])
    with pytest.raises(Conflict):
        claims.claim([choice("a", WHOLE)])
    claims.publish(HOST, [WHOLE, pool(held={VFS[0]: HELD}, pf=P1)])
    claims.claim([choice("a", WHOLE)])


def test_all_or_none(claims: SqliteClaims) -> None:
    """Where one port of several cannot be served none is, and each keeps what it had."""
    claims.claim([choice("a", vf=VFS[3])])
    with pytest.raises(Conflict):
        claims.claim([choice("a"), choice("b"), choice("c", VDPA_POOL), choice("d", VDPA_POOL)])
    assert owned(claims) == {VFS[3]: "a"}


def test_a_pool_that_has_changed(claims: SqliteClaims) -> None:
    """What was chosen for a property that it has no more is not given."""
    claims.publish(HOST, [replace(VIRTUAL, traits=frozenset({"CUSTOM_NEW"}))])
    with pytest.raises(Conflict):
        claims.claim([choice("a", VIRTUAL)])
    with pytest.raises(Conflict):
        claims.claim([choice("a", anything(VIRTUAL))])


def test_a_try_again_gets_another(claims: SqliteClaims) -> None:
    """A port that died between claim and allocation has one device after its next claim."""
    claims.claim([choice("a", vf=VFS[3], rate=7)])
    (claim,) = claims.claim([choice("a")])
    assert claims.claims() == (claim,)
    assert claim.address == VFS[0]
    (claim,) = claims.claim([choice("a", WHOLE)])
    assert claims.claims() == (claim,)


def test_one_that_is_in_use_is_kept(claims: SqliteClaims) -> None:
    """A port whose device is allocated is refused another one, and the others with it."""
    claims.claim([choice("a")])
    claims.allocate("a")
    with pytest.raises(Refused, match=f"uses {VFS[0]} of {HOST} already") as caught:
        claims.claim([choice("b"), choice("a")])
    assert (caught.value.where, caught.value.hint) == ("port a", "detach it")
    assert owned(claims) == {VFS[0]: "a"}


def test_one_device_for_each_port(claims: SqliteClaims) -> None:
    """A port that is there twice is a mistake."""
    with pytest.raises(Invalid, match="two devices"):
        claims.claim([choice("a"), choice("a")])


def test_rates_are_promised_once(claims: SqliteClaims) -> None:
    """The speed of a PF is shared by all of its pools, and is there again when it is released."""
    card = [replace(each, rate=1000) for each in CARD]
    _, virtual, vdpa = card
    claims.publish(HOST, card)
    claims.claim(
        [choice("a", virtual, rate=600), choice("b", vdpa, rate=300), choice("c", virtual)]
    )
    assert {each.rate for each in claims.pools((), HOST)} == {100}
    assert {each.rate for each in claims.pools(())} == {100}
    assert [claim.rate for claim in claims.claims()] == [600, 0, 300]
    with pytest.raises(Conflict, match="100 kbit/s are left, and 101 are needed"):
        claims.claim([choice("d", virtual, rate=101)])
    claims.claim([choice("d", virtual, rate=100)])
    claims.claim([choice("a", virtual, rate=500)])
    claims.release("b")
    assert claims.pools((), HOST)[0].rate == 400


def test_a_pf_that_became_slower(claims: SqliteClaims) -> None:
    """What is promised stays so, and nothing is left."""
    fast = replace(VIRTUAL, rate=1000)
    claims.publish(HOST, [fast])
    claims.claim([choice("a", fast, rate=800)])
    claims.publish(HOST, [replace(fast, rate=500)])
    assert [each.rate for each in (*claims.pools((), HOST), *claims.pools(()))] == [0, 0]
    with pytest.raises(Conflict, match="0 kbit/s are left"):
        claims.claim([choice("b", fast, rate=1)])
    claims.claim([choice("b", fast)])


def test_a_speed_nobody_knows(claims: SqliteClaims) -> None:
    """The store does not judge it: whether the pool would do was asked before."""
    claims.claim([choice("a", rate=10**9)])
    assert claims.pools((), HOST)[0].rate is None


def test_only_the_owner_moves_a_claim(claims: SqliteClaims) -> None:
    """Allocate and release are by the owner's name; twice is once, and another's is not touched."""
    claims.claim([choice("a")])
    with pytest.raises(NotFound, match="claimed no device") as caught:
        claims.allocate("b")
    assert caught.value.where == "port b"
    claims.release("b")
    assert [claim.state for claim in claims.claims()] == [ClaimState.CLAIMED]
    claims.allocate("a")
    claims.allocate("a")
    assert [claim.state for claim in claims.claims()] == [ClaimState.ALLOCATED]
    claims.release("a")
    claims.release("a")
    assert claims.claims() == ()


def test_adopt(claims: SqliteClaims) -> None:
    """A device in use is its port's again, though what holds it was seen; twice is once."""
    claims.publish(HOST, [WHOLE, pool(*VFS[1:], held={VFS[0]: HELD})])
    for _ in range(2):
        claims.adopt("a", HOST, VFS[0])
        (claim,) = claims.claims()
        assert (claim.owner, claim.address, claim.state) == ("a", VFS[0], ClaimState.ALLOCATED)
    claims.claim([choice("b", vf=VFS[1])])
    claims.publish(HOST, ())
    claims.adopt("b", HOST, VFS[1])
    assert {claim.state for claim in claims.claims()} == {ClaimState.ALLOCATED}


def test_adopt_refuses(claims: SqliteClaims) -> None:
    """What another port has is not taken from it, and nobody gets a second or an unknown one."""
    claims.claim([choice("a", vf=VFS[0])])
    with pytest.raises(Refused, match="in use by port a") as caught:
        claims.adopt("b", HOST, VFS[0])
    assert caught.value.where == str(VFS[0])
    with pytest.raises(Refused, match=f"port a has {VFS[0]} of {HOST}"):
        claims.adopt("a", HOST, VFS[1])
    with pytest.raises(Refused, match="a VF of it is in use by port a"):
        claims.adopt("b", HOST, P0)
    for host, address in ((HOST, P1), ("b", VFS[1])):
        with pytest.raises(NotFound, match=f"{host} has no such function"):
            claims.adopt("b", host, address)
    claims.release("a")
    claims.adopt("b", HOST, P0)
    with pytest.raises(Refused, match="its PF is in use by port b"):
        claims.adopt("a", HOST, VFS[0])
    # What is written already stays, also where it would not be written now.
    claims.publish(HOST, [WHOLE, pool(held={VFS[0]: HELD})])
    claims.adopt("b", HOST, P0)
    assert owned(claims) == {P0: "b"}


def test_a_publication_that_cannot_be(claims: SqliteClaims) -> None:
    """A function is in one pool, free or held, and a pool is of the host that is published."""
    for twice in ([VIRTUAL, pool(VFS[0], device=VDPA)], [pool(VFS[0], held={VFS[0]: HELD})]):
        with pytest.raises(Invalid, match=f"{VFS[0]} is published twice"):
            claims.publish(HOST, twice)
    with pytest.raises(Invalid, match=f"a pool of {HOST}") as caught:
        claims.publish("b", [VIRTUAL])
    assert caught.value.where == "host b"
    assert claims.pools((), HOST) == CARD


def test_it_outlives_its_process(claims: SqliteClaims, path: Path) -> None:
    """What was written is there for the next one, also while the first has the file open."""
    claims.claim([choice("a", rate=5)])
    second = SqliteClaims(path)
    assert second.claims() == claims.claims()
    assert second.pools((), HOST) == claims.pools((), HOST)
    second.release("a")
    second.close()
    assert claims.claims() == ()


def test_threads_share_it(claims: SqliteClaims) -> None:
    """Each VF goes to one of the threads, and all of them go."""
    many = tuple(PciAddress(0, 5, slot, number) for slot in range(8) for number in range(8))
    claims.publish(HOST, [pool(*many)])

    def take(me: int) -> None:
        for number in range(4):
            owners = [f"{me}-{number}-{each}" for each in range(2)]
            claims.claim([choice(owner, anything(VIRTUAL)) for owner in owners])

    threads = [threading.Thread(target=take, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {claim.address for claim in claims.claims()} == set(many)


def test_no_thread_sees_half_a_transaction(claims: SqliteClaims) -> None:
    """What reads while another thread writes reads all that this writes, or nothing."""
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(len(claims.claims())))

    class Interrupted(PciAddress):
        """Read in the middle of a claim. That it waits can only be waited for in vain."""

        def __str__(self) -> str:
            if not reader.ident:
                reader.start()
                reader.join(0.2)
            return super().__str__()

    second = Interrupted(*(getattr(VFS[1], name) for name in PciAddress.__slots__))
    claims.claim([choice("a", vf=VFS[0]), choice("b", vf=second)])
    reader.join()
    assert owned(claims) == {VFS[0]: "a", VFS[1]: "b"}
    assert seen == [2]


def test_what_is_read_is_read_alone(
    claims: SqliteClaims, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns are for order: a claim is safe from a writer that has not waited for its turn."""
    seen: list[str] = []
    begun, read = threading.Event(), threading.Event()

    def watch(statement: str) -> None:
        seen.append(statement)
        (begun if statement.startswith("BEGIN") else read).set()

    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: traced(connect(*a, **k), watch))
    second = SqliteClaims(path)
    seen.clear()
    begun.clear()
    read.clear()
    found: list[Claim | SmartvifError] = []

    def claim() -> None:
        try:
            found.extend(second.claim([choice("a")]))
        except SmartvifError as error:
            found.append(error)

    thread = threading.Thread(target=claim)
    thread.start()
    assert begun.wait(10)
    # It must not read before the other has written; that can only be waited for in vain.
    assert not read.wait(0.2)
    other.execute(
        "UPDATE functions SET owner = 'b', state = 'claimed' WHERE address = ?", (str(VFS[0]),)
    )
    other.execute("COMMIT")
    other.close()
    thread.join()
    second.close()
    assert [each.address for each in found if isinstance(each, Claim)] == [VFS[1]]


def traced(db: sqlite3.Connection, watch: Callable[[str], None]) -> sqlite3.Connection:
    """The connection, which tells of each statement before it is executed."""
    db.set_trace_callback(watch)
    return db


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE functions SET state = 'claimed'",
        "UPDATE functions SET owner = 'x'",
        "UPDATE functions SET rate = 1",
        "UPDATE functions SET published = 0",
        "UPDATE functions SET state = 'lost', owner = 'x'",
        "UPDATE functions SET owner = 'x', state = 'claimed'",
        "UPDATE functions SET pool = 99",
        "DELETE FROM pools",
        "UPDATE pools SET device = 'GPU'",
    ],
)
def test_the_tables_hold_what_they_can(claims: SqliteClaims, path: Path, change: str) -> None:
    """What is owned has an owner, what is free has none: SQLite sees to it."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(change)
    db.close()


def test_a_newer_file(claims: SqliteClaims, path: Path) -> None:
    """A file in a version that is not known is refused and left as it is."""
    claims.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(CannotTell, match="newer smartvif made it, in version 2") as caught:
        SqliteClaims(path)
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """Neither another program's database nor what is none is written to."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE hosts (name)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(CannotTell, match="file of something else"):
        SqliteClaims(path)
    assert path.read_bytes() == before
    path.write_text("these are no claims, but quite a lot of other words" * 20)
    with pytest.raises(CannotTell, match="file is not a database") as caught:
        SqliteClaims(path)
    assert caught.value.where == str(path)


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    """It is said what is wrong and where, and what to do."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "claims.db", tmp_path):
        with pytest.raises(CannotTell, match="cannot use the claims") as caught:
            SqliteClaims(path)
        assert caught.value.where == str(path)
        assert "SMARTVIF_STATE_DIR" in caught.value.hint


def test_a_file_that_fails_later(claims: SqliteClaims, path: Path) -> None:
    """A method that cannot read or write says so, and has changed nothing."""
    db = sqlite3.connect(path)
    db.execute("CREATE TRIGGER t BEFORE UPDATE ON functions BEGIN SELECT RAISE(FAIL, 'full'); END")
    with pytest.raises(CannotTell, match="full"):
        claims.claim([choice("a")])
    db.execute("DROP TRIGGER t")
    db.close()
    claims.claim([choice("a")])
    claims.close()
    for act in (claims.claims, lambda: claims.pools(()), lambda: claims.release("a")):
        with pytest.raises(CannotTell):
            act()


# ---- the model

HOSTS = ("a", "b")
SLOTS: tuple[tuple[DeviceType, PciAddress, PciAddress, str | None], ...] = (
    (PF, P0, P0, None),
    *((VF, P0, PciAddress(0, 4, 0, number), ("blue", "red")[number // 2]) for number in range(4)),
    (VDPA, P0, PciAddress(0, 4, 1, 0), None),
    (PF, P1, P1, None),
    *((VF, P1, PciAddress(0, 4, 2, number), "blue") for number in range(2)),
)
OWNERS = ("o1", "o2", "o3", "o4", "o5", "o6")
STATUS = st.sampled_from(["free", "free", "free", "free", "held", "absent"])
# A pool: PF, device, physical network, and a trait that comes and goes.
Key = tuple[PciAddress, DeviceType, str | None, bool]
Place = tuple[str, PciAddress]


@dataclass(kw_only=True)
class Known:
    """A function as the store should have it."""

    key: Key
    held: str | None
    published: bool = True
    owner: str | None = None
    state: str = "available"
    rate: int = 0


def of_key(host: str, key: Key, functions: Sequence[PciAddress], rate: int | None = None) -> Pool:
    """A pool with the key's properties."""
    pf, device, network, trait = key
    return replace(
        pool(*functions, pf=pf, device=device, rate=rate, host=host),
        physical_network=network,
        traits=frozenset({"CUSTOM_T"} if trait else ()),
    )


KEYS = sorted(
    {(pf, device, network, trait) for device, pf, _, network in SLOTS for trait in (False, True)},
    key=str,
)


@st.composite
def choices(draw: st.DrawFn) -> list[Choice]:
    """Of up to four ports: of pools that there are or not, with functions listed, named, or any."""
    host = draw(st.sampled_from(HOSTS))
    trait = draw(st.sampled_from([False, False, False, True]))
    found = []
    for owner in draw(st.lists(st.sampled_from(OWNERS), min_size=1, max_size=4, unique=True)):
        key = draw(st.sampled_from([key for key in KEYS if key[3] is trait]))
        mine = [
            address for device, pf, address, network in SLOTS if (pf, device, network) == key[:3]
        ]
        listed = draw(st.lists(st.sampled_from(mine), unique=True)) if draw(st.booleans()) else []
        vf = draw(st.sampled_from(mine)) if draw(st.integers(0, 4)) == 0 else None
        rate = draw(st.sampled_from([0, 0, 400, 1000]))
        found.append(choice(owner, of_key(host, key, listed), vf=vf, rate=rate))
    return found


class ClaimsMachine(RuleBasedStateMachine):
    """Two stores on one file, as two processes have them, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.stores = [SqliteClaims(self.directory / "claims.db") for _ in range(2)]
        self.known: dict[Place, Known] = {}
        self.speeds: dict[tuple[str, Key], int | None] = {}
        for host in HOSTS:
            self.publish(0, host, ["free"] * len(SLOTS), [1000, None], False)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.directory)

    @rule(
        by=st.integers(0, 1),
        host=st.sampled_from(HOSTS),
        status=st.lists(STATUS, min_size=len(SLOTS), max_size=len(SLOTS)),
        speeds=st.lists(st.sampled_from([None, 500, 1000, 3000]), min_size=2, max_size=2),
        trait=st.sampled_from([False, False, False, True]),
    )
    def publish(
        self, by: int, host: str, status: list[str], speeds: list[int | None], trait: bool
    ) -> None:
        """More functions, or fewer, or held, or of another kind."""
        pools: dict[Key, Pool] = {}
        there: dict[Place, tuple[Key, str | None]] = {}
        for (device, pf, address, network), how in zip(SLOTS, status, strict=True):
            if how == "absent":
                continue
            key = (pf, device, network, trait)
            speed = self.speeds[host, key] = speeds[pf == P1]
            held = HELD if how == "held" else None
            there[host, address] = key, held
            before = pools.get(key) or of_key(host, key, (), speed)
            pools[key] = (
                replace(before, functions=(*before.functions, address))
                if held is None
                else replace(before, held={**before.held, address: held})
            )
        self.stores[by].publish(host, tuple(pools.values()))
        for place in [place for place in self.known if place[0] == host and place not in there]:
            self.known[place].published = False
            self.forget(place)
        for place, (key, held) in there.items():
            known = self.known.setdefault(place, Known(key=key, held=held))
            known.key, known.held, known.published = key, held, True

    def forget(self, place: Place) -> None:
        """Forget it if it is not there and nobody's."""
        if self.known[place].owner is None and not self.known[place].published:
            del self.known[place]

    def free(self, owner: str) -> None:
        """Take from the model what an owner has."""
        for place, known in list(self.known.items()):
            if known.owner == owner:
                known.owner, known.state, known.rate = None, "available", 0
                self.forget(place)

    def siblings(self, place: Place) -> list[Known]:
        """Those that exclude it while they are taken: its PF, or its PF's parts."""
        pf, device, *_ = self.known[place].key
        return [
            known
            for (host, _), known in self.known.items()
            if host == place[0] and known.key[0] == pf and (known.key[1] is PF) != (device is PF)
        ]

    def can_be_had(self, place: Place) -> bool:
        """Whether anybody could claim it."""
        known = self.known[place]
        if known.owner is not None or known.held is not None:
            return False
        if known.key[1] is PF:
            return all(each.owner is None and each.held is None for each in self.siblings(place))
        return all(each.owner is None for each in self.siblings(place))

    def promised(self, host: str, pf: PciAddress) -> int:
        """The rates of all that a PF has given."""
        return sum(
            known.rate
            for (where, _), known in self.known.items()
            if where == host and known.key[0] == pf
        )

    def expect(self, wanted: list[Choice]) -> dict[str, PciAddress] | type[SmartvifError]:
        """What a claim should give, written to the model; or the error, which changes nothing."""
        before = {place: replace(known) for place, known in self.known.items()}
        found: dict[str, PciAddress] = {}
        for each in wanted:
            mine = [known for known in self.known.values() if known.owner == each.request.id]
            if any(known.state == "allocated" for known in mine):
                self.known = before
                return Refused
            self.free(each.request.id)
        for each in sorted(wanted, key=lambda each: each.request.vf is None):
            address = self.first(each)
            if address is None:
                self.known = before
                return Conflict
            known = self.known[each.pool.host, address]
            known.owner, known.state = each.request.id, "claimed"
            known.rate = each.request.min_rate
            found[each.request.id] = address
        return found

    def first(self, wanted: Choice) -> PciAddress | None:
        """The address that one choice should get."""
        host, request = wanted.pool.host, wanted.request
        trait = "CUSTOM_T" in wanted.pool.traits
        key = (wanted.pool.pf, wanted.pool.device, wanted.pool.physical_network, trait)
        mine = sorted(
            address
            for (where, address), known in self.known.items()
            if where == host and known.key == key and self.can_be_had((where, address))
        )
        listed = [request.vf] if request.vf else list(wanted.pool.functions) or mine
        address = next((each for each in listed if each in mine), None)
        speed = self.speeds.get((host, key))
        if request.min_rate and speed is not None:
            left = speed - self.promised(host, wanted.pool.pf)
            return address if request.min_rate <= left else None
        return address

    @rule(by=st.integers(0, 1), wanted=choices())
    def claim(self, by: int, wanted: list[Choice]) -> None:
        """The ports get exactly what they should, or all of them nothing."""
        expected = self.expect(wanted)
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.stores[by].claim(wanted)
            return
        claims = self.stores[by].claim(wanted)
        assert [claim.owner for claim in claims] == [each.request.id for each in wanted]
        assert {claim.owner: claim.address for claim in claims} == expected

    @rule(by=st.integers(0, 1), owner=st.sampled_from(OWNERS))
    def allocate(self, by: int, owner: str) -> None:
        """Only by a name that has one."""
        mine = [known for known in self.known.values() if known.owner == owner]
        if not mine:
            with pytest.raises(NotFound):
                self.stores[by].allocate(owner)
            return
        self.stores[by].allocate(owner)
        mine[0].state = "allocated"

    @rule(by=st.integers(0, 1), owner=st.sampled_from(OWNERS))
    def release(self, by: int, owner: str) -> None:
        """Also of nothing."""
        self.stores[by].release(owner)
        self.free(owner)

    @rule(
        by=st.integers(0, 1),
        owner=st.sampled_from(OWNERS),
        host=st.sampled_from(HOSTS),
        slot=st.sampled_from(SLOTS),
    )
    def adopt(
        self,
        by: int,
        owner: str,
        host: str,
        slot: tuple[DeviceType, PciAddress, PciAddress, str | None],
    ) -> None:
        """What is another's, or excluded by another's, stays so."""
        place = host, slot[2]
        mine = [where for where, known in self.known.items() if known.owner == owner]
        expected: type[SmartvifError] | None = None
        if mine not in ([], [place]):
            expected = Refused
        elif place not in self.known:
            expected = NotFound
        elif not mine:
            held, self.known[place].held = self.known[place].held, None
            expected = None if self.can_be_had(place) else Refused
            self.known[place].held = held
        if expected is not None:
            with pytest.raises(expected):
                self.stores[by].adopt(owner, *place)
            return
        self.stores[by].adopt(owner, *place)
        self.known[place].owner, self.known[place].state = owner, "allocated"

    @rule(by=st.integers(0, 1))
    def reopen(self, by: int) -> None:
        """Nothing is only in memory."""
        self.stores[by].close()
        self.stores[by] = SqliteClaims(self.directory / "claims.db")

    @invariant()
    def claims_are_the_models(self) -> None:
        """Every claim is as it should be, and a PF is never given both ways."""
        claims = self.stores[0].claims()
        assert {
            (claim.host, claim.address): (claim.owner, str(claim.state), claim.rate, claim.pf)
            for claim in claims
        } == {
            place: (known.owner, known.state, known.rate, known.key[0])
            for place, known in self.known.items()
            if known.owner is not None
        }
        whole = {(claim.host, claim.pf) for claim in claims if claim.device is PF}
        parts = {(claim.host, claim.pf) for claim in claims if claim.device is not PF}
        assert whole.isdisjoint(parts)
        assert len({claim.owner for claim in claims}) == len(claims)

    @invariant()
    def pools_are_the_models(self) -> None:
        """What can be had is what the model has, counted or one by one."""
        pools = [each for host in HOSTS for each in self.stores[1].pools((), host)]
        assert [anything(each) for each in pools] == list(self.stores[1].pools(()))
        functions = {(each.host, address) for each in pools for address in each.functions}
        assert functions == {place for place in self.known if self.can_be_had(place)}
        held = {(each.host, address) for each in pools for address in each.held}
        assert functions | held == self.known.keys()
        for each in pools:
            assert (each.free, each.total) == (
                len(each.functions),
                len(each.functions) + len(each.held),
            )
            key = (each.pf, each.device, each.physical_network, bool(each.traits))
            speed = self.speeds[each.host, key]
            left = None if speed is None else max(0, speed - self.promised(each.host, each.pf))
            assert each.rate == left


TestClaimsMachine = ClaimsMachine.TestCase
TestClaimsMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
