"""The store of claims: what it gives to whom, and what it says of it."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from smartvif.choose.claims.sqlite import SqliteClaims
from smartvif.choose.claims.store import Claim, ClaimState, ClaimStore
from smartvif.choose.selection.pool import Pool
from smartvif.choose.selection.request import DeviceRequest
from smartvif.choose.selection.select import select
from smartvif.model.errors import Conflict, Invalid, NotFound, Refused, SmartvifError
from smartvif.model.pci import PciAddress
from tests.support.claim_store import (
    CARD,
    HELD,
    HOST,
    P0,
    P1,
    PF,
    VDPA,
    VDPA_POOL,
    VDPAS,
    VF,
    VFS,
    VIRTUAL,
    WHOLE,
    anything,
    choice,
    owned,
    pool,
    traced,
)


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
        pool(*VFS[:2], unavailable={VFS[3]: HELD, VFS[2]: ""}, rate=1000, pf=P1, host="b"),
        netdev="p1",
        numa_node=1,
        traits=frozenset({"HW_NIC_SRIOV", "CUSTOM_X"}),
        unknown=frozenset({"CUSTOM_Y"}),
        physical_network="blue",
        drawback="its link is down",
    )
    other = replace(full, functions=(VDPAS[0],), total=1, free=1, unavailable={}, drawback=None)
    claims.publish("b", [full, other])
    assert claims.pools((), "b") == (full, other)
    counted = tuple(anything(each) for each in (full, other))
    assert tuple(each for each in claims.pools(()) if each.host == "b") == counted
    assert claims.pools((), "nowhere") == ()


def test_a_pool_says_why_not(claims: SqliteClaims) -> None:
    """Each function that cannot be had has its reason, and a whole PF that of its parts."""
    claims.publish(HOST, [WHOLE, pool(*VFS[1:], unavailable={VFS[0]: HELD}), VDPA_POOL])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert whole.unavailable == {P0: f"a VF of it is unavailable: {HELD}"}
    assert virtual.unavailable == {VFS[0]: HELD}
    assert vdpa.functions == VDPAS
    claims.publish(HOST, CARD)
    claims.claim([choice("a", vf=VFS[2])])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert (whole.total, whole.free, whole.unavailable) == (
        1,
        0,
        {P0: "a VF of it is in use by port a"},
    )
    assert (virtual.total, virtual.free) == (4, 3)
    assert virtual.functions == (VFS[0], VFS[1], VFS[3])
    assert virtual.unavailable == {VFS[2]: "in use by port a"}
    claims.release("a")
    claims.claim([choice("b", WHOLE)])
    whole, virtual, vdpa = claims.pools((), HOST)
    assert whole.unavailable == {P0: "in use by port b"}
    assert set(virtual.unavailable.values()) == {"its PF is in use by port b"}
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
        pool(*VFS[1:], unavailable={VFS[0]: HELD}),
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
    claims.publish(
        HOST, [pool(unavailable={P0: HELD}, device=PF), pool(VFS[1], unavailable={VFS[0]: HELD})]
    )
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
    claims.publish(HOST, [WHOLE, pool(unavailable={VFS[0]: HELD})])
    with pytest.raises(Conflict):
        claims.claim([choice("a", WHOLE)])
    claims.publish(HOST, [WHOLE, pool(unavailable={VFS[0]: HELD}, pf=P1)])
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
    claims.publish(HOST, [WHOLE, pool(*VFS[1:], unavailable={VFS[0]: HELD})])
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
    claims.publish(HOST, [WHOLE, pool(unavailable={VFS[0]: HELD})])
    claims.adopt("b", HOST, P0)
    assert owned(claims) == {P0: "b"}


def test_a_publication_that_cannot_be(claims: SqliteClaims) -> None:
    """A function is in one pool, free or held, and a pool is of the host that is published."""
    for twice in ([VIRTUAL, pool(VFS[0], device=VDPA)], [pool(VFS[0], unavailable={VFS[0]: HELD})]):
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
