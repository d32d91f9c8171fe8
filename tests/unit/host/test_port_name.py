from hypothesis import given
from hypothesis import strategies as st

from smartvif.host.port_name import PortKind, PortName

NUMBERS = st.integers(min_value=0, max_value=2**32 - 1)
CONTROLLERS = st.integers(min_value=0, max_value=255)
NAMES = st.one_of(
    st.builds(PortName, kind=st.just(PortKind.UPLINK), number=NUMBERS),
    st.builds(PortName, kind=st.just(PortKind.PF), controller=CONTROLLERS, pf=NUMBERS),
    st.builds(
        PortName,
        kind=st.sampled_from([PortKind.VF, PortKind.SF]),
        controller=CONTROLLERS,
        pf=NUMBERS,
        number=NUMBERS,
    ),
    st.builds(PortName, kind=st.just(PortKind.VF), number=NUMBERS),
)
OTHER = PortName(kind=PortKind.OTHER)


@given(NAMES)
def test_round_trip(name: PortName) -> None:
    """What a port is called is read back as the same port."""
    assert PortName.parse(str(name)) == name


@given(NAMES, st.characters(exclude_categories=["Nd"]))
def test_nothing_around_it(name: PortName, junk: str) -> None:
    """A name with anything before or after it is not that name."""
    assert PortName.parse(str(name) + junk) == OTHER
    assert PortName.parse(junk + str(name)) in {
        OTHER,
        # A bare number with a 'p' before it is an uplink, and rightly so.
        PortName(kind=PortKind.UPLINK, number=name.number) if junk == "p" else OTHER,
    }


@given(st.text())
def test_total(text: str) -> None:
    """No text is an error."""
    assert PortName.parse(text).kind in PortKind


def test_forms() -> None:
    """Every form that a kernel writes is read."""
    forms = {
        "p0": PortName(kind=PortKind.UPLINK, number=0),
        "p0s1": PortName(kind=PortKind.UPLINK, number=0),
        "l0p1": PortName(kind=PortKind.UPLINK, number=1),
        "l2p1s3": PortName(kind=PortKind.UPLINK, number=1),
        "pf0": PortName(kind=PortKind.PF, pf=0),
        "pf0s1": PortName(kind=PortKind.PF, pf=0),
        "c1pf0": PortName(kind=PortKind.PF, controller=1, pf=0),
        "pf0vf3": PortName(kind=PortKind.VF, pf=0, number=3),
        "c1pf0vf3": PortName(kind=PortKind.VF, controller=1, pf=0, number=3),
        "pf0sf88": PortName(kind=PortKind.SF, pf=0, number=88),
        "c2pf1sf88": PortName(kind=PortKind.SF, controller=2, pf=1, number=88),
        "VF3@PF0": PortName(kind=PortKind.VF, pf=0, number=3),
        "vf3@pf0": PortName(kind=PortKind.VF, pf=0, number=3),
        "pf0vfr0": PortName(kind=PortKind.VF, number=0),
        "pf1vfr63": PortName(kind=PortKind.VF, number=63),
        "3": PortName(kind=PortKind.VF, number=3),
        "n0": OTHER,
    }
    assert {text: PortName.parse(text) for text in forms} == forms


def test_junk() -> None:
    """What no kernel writes is nothing, even where a part of it would be something."""
    junk = "", "p", "pf", "vf3", "03", "+3", " 3", "3\n", "pf0vf", "pf0vf3x", "xpf0vf3", "PF0VF3"
    more = "c0pf0vf3", "c1p0", "pf00", "pf0vf03", "pf0vf3vf4", "vf3@pf0s1", "p0s", "٣"
    wires = "pf0vfr", "pf0vfr01", "pf00vfr1", "pfvfr1", "c1pf0vfr1", "PF0VFR1", "pf0sfr1"
    assert {PortName.parse(text) for text in junk + more + wires} == {OTHER}
