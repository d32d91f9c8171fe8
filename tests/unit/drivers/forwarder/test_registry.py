"""Finding forwarder engines: ours, and those of other packages by their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartvif.drivers.forwarder.engine import EngineOptions
from smartvif.drivers.forwarder.ovs_dpdk import OvsDpdkEngine
from smartvif.drivers.forwarder.registry import open_engine
from smartvif.drivers.forwarder.virtio_forwarder.engine import VirtioForwarderEngine
from smartvif.model.errors import CannotTell, Invalid
from tests.support.toys_installed import ENGINE, TOYS, install

DATABASE = "unix:/run/forwarder/db.sock"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that Python finds packages in, beside the toy package's modules."""
    monkeypatch.syspath_prepend(TOYS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (EngineOptions(), None),
        (EngineOptions(database=DATABASE), None),
        (EngineOptions(netns="fwd"), None),
        (EngineOptions(database=DATABASE, netns="fwd"), OvsDpdkEngine),
        (EngineOptions(daemon="/run/vf"), VirtioForwarderEngine),
        (EngineOptions(daemon="/run/vf", database=DATABASE, netns="fwd"), VirtioForwarderEngine),
        (
            EngineOptions(engine="ovs-dpdk", daemon="/run/vf", database=DATABASE, netns="fwd"),
            OvsDpdkEngine,
        ),
    ],
)
def test_ours(options: EngineOptions, kind: type | None) -> None:
    """The engine is the one that is named, else the one that the other options are for."""
    found = open_engine(options)
    assert (None if found is None else type(found)) == kind


@pytest.mark.parametrize("name", ["ovs-dpdk", "virtio-forwarder"])
def test_an_option_that_is_missing(name: str) -> None:
    """An engine that is named without what it needs says what to set."""
    with pytest.raises(Invalid, match="needs") as caught:
        open_engine(EngineOptions(engine=name))
    assert caught.value.hint.startswith("set '")


def test_one_of_another_package(path: Path) -> None:
    """It is opened with the options."""
    install(path, forwarders=ENGINE)
    options = EngineOptions(engine="toy", database=DATABASE, netns="fwd", daemon=str(path))
    found = open_engine(options)
    assert type(found).__name__ == "ToyEngine"
    assert isinstance(found, OvsDpdkEngine)
    assert found.netns == "fwd"


def test_one_that_is_not_there(path: Path) -> None:
    """The error lists those that are there, of ours and of others."""
    install(path, forwarders=ENGINE)
    with pytest.raises(Invalid, match="'none' is not one of the engines") as caught:
        open_engine(EngineOptions(engine="none"))
    assert caught.value.hint == "there are: ovs-dpdk, toy, virtio-forwarder"


def test_one_that_cannot_be_loaded(path: Path) -> None:
    """The error names the package, and other engines work."""
    install(path, forwarders={**ENGINE, "broken": "toy_missing:Engine"})
    with pytest.raises(CannotTell, match="'broken' of toy-package cannot be loaded"):
        open_engine(EngineOptions(engine="broken"))
    toy = EngineOptions(engine="toy", database=DATABASE, netns="fwd", daemon=str(path))
    assert open_engine(toy) is not None


def test_two_of_one_name(path: Path) -> None:
    """Which of two is meant is not guessed."""
    install(path, forwarders=ENGINE, name="first-package")
    install(path, forwarders=ENGINE, name="second-package")
    with pytest.raises(Invalid, match="first-package") as caught:
        open_engine(EngineOptions(engine="toy"))
    assert "second-package" in caught.value.what


def test_ours_cannot_be_replaced(path: Path) -> None:
    """An entry point of one of our names is not looked at."""
    install(path, forwarders={"ovs-dpdk": "toy_forwarder:ToyEngine"})
    options = EngineOptions(engine="ovs-dpdk", database=DATABASE, netns="fwd")
    assert type(open_engine(options)) is OvsDpdkEngine
