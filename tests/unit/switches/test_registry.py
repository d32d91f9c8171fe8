"""Finding switches: ours, and those of other packages by their entry points."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smartvif.context import settings
from smartvif.model.choices import Mode
from smartvif.model.errors import Invalid
from smartvif.model.port_spec import PortSpec
from smartvif.plug.steps import codec
from smartvif.switches import registry
from smartvif.switches.ovs import OVS
from tests.support.toys_installed import SWITCH, TOYS, install


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test installs is not found any more after it."""
    monkeypatch.setattr(codec, "_KINDS", dict(codec._KINDS))
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()
    for name in [each for each in sys.modules if each.startswith("toy_")]:
        del sys.modules[name]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that Python finds packages in, beside the toy package's modules."""
    monkeypatch.syspath_prepend(TOYS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def module(path: Path, module: str, /, **changed: Any) -> None:
    """A module with a row that is the toy's but for what is changed."""
    source = "from dataclasses import replace\nfrom toy_linuxbridge import BACKEND\n"
    (path / f"{module}.py").write_text(f"{source}ROW = replace(BACKEND, **{changed!r})\n")


def test_ours() -> None:
    """Each of ours is found by its name, its plugins and its VIF types, and no package is read."""
    for name, row in registry.OURS.items():
        assert registry.switch(name) is row
        assert all(registry.of_plugin(plugin) is row for plugin in row.plugins)
        assert all(registry.of_vif_type(kind) is row for kind in row.vif_types)
    assert registry.installed.cache_info().currsize == 0


def test_one_of_another_package(path: Path) -> None:
    """It is found by all that it is called, and its steps are known to the journal."""
    install(path, switches=SWITCH)
    row = registry.switch("linuxbridge")
    assert (row.name, row.title) == ("linuxbridge", "Linux bridge")
    assert registry.of_plugin("linuxbridge") is row
    assert registry.of_vif_type("linuxbridge") is row
    assert registry.of_section("linuxbridge") is row
    values = {"port": {"netdev": "tap0", "bridge": "lb0"}}
    step = codec.load("OnLinuxBridge", values)
    assert codec.dump(step) == ("OnLinuxBridge", values)


def test_one_that_is_not_there() -> None:
    """The error lists those that ports can be attached to."""
    with pytest.raises(Invalid, match="'linuxbridge' is not one of the switches") as caught:
        registry.switch("linuxbridge")
    assert (caught.value.where, caught.value.hint) == ("--switch", "there are: ovs, vrouter")


BROKEN = {
    "nowhere": ("toy_missing:ROW", "toy_missing:ROW cannot be loaded: ModuleNotFoundError"),
    "unnamed": ("toy_linuxbridge:ROW", "toy_linuxbridge:ROW cannot be loaded: AttributeError"),
    "raising": ("toy_raising:ROW", "cannot be loaded: ZeroDivisionError"),
    "text": ("toy_linuxbridge:NAME", "toy_linuxbridge:NAME is no SwitchBackend"),
    "sockets": ("toy_sockets:ROW", "toy_sockets:ROW cannot be loaded: TypeError"),
    "misnamed": ("toy_linuxbridge:BACKEND", "its row is called 'linuxbridge'"),
    "plugin": ("toy_plugin:ROW", "os-vif plugin 'ovs' belongs to another switch, 'ovs'"),
    "vif": ("toy_vif:ROW", "VIF type 'hw_veb' belongs to another switch, 'hw_veb'"),
    "section": ("toy_section:ROW", "section 'vrouter' belongs to another switch, 'vrouter'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_hides_no_other(
    name: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong is told once, with the package, and is the error where it is asked for."""
    value, what = BROKEN[name]
    (path / "toy_raising.py").write_text("1 / 0\n")
    module(path, "toy_sockets", name=name, sockets={})
    module(path, "toy_plugin", name=name, plugins={"ovs"})
    module(path, "toy_vif", name=name, plugins={"own"}, vif_types={"hw_veb"})
    text = 'ROW = replace(ROW, access=replace(BACKEND.access, section="vrouter"))\n'
    module(path, "toy_section", name=name, plugins={"own"}, vif_types={"own"})
    with (path / "toy_section.py").open("a") as file:
        file.write(text)
    install(path, switches={name: value}, name="broken-package")
    install(path, switches=SWITCH)
    with caplog.at_level(logging.WARNING), pytest.raises(Invalid) as caught:
        registry.switch(name)
    assert caught.value.what.startswith(f"the switch '{name}' of broken-package is left out: ")
    assert what in caught.value.what
    assert caplog.messages == [caught.value.what]
    assert "linuxbridge" in caught.value.hint
    assert registry.switch("linuxbridge").name == "linuxbridge"
    assert registry.switch("ovs") is OVS


def test_the_name_of_one_of_ours(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A package cannot take the place of one of ours, or of another package's."""
    module(path, "toy_ovs", name="ovs")
    install(path, switches={"ovs": "toy_ovs:ROW"}, name="first-package")
    install(path, switches=SWITCH, name="second-package")
    install(path, switches=SWITCH, name="third-package")
    assert registry.installed().rows.keys() == {*registry.OURS, "linuxbridge"}
    assert registry.switch("ovs") is OVS
    assert len(caplog.messages) == 2
    assert all("the name belongs to another switch" in each for each in caplog.messages)


def test_steps_of_one_name(path: Path) -> None:
    """A switch whose steps are called like another's is left out: the journal could not tell."""
    source = "from dataclasses import replace\nfrom toy_linuxbridge import BACKEND\n"
    steps = "from toy_steps import OnLinuxBridge\nROW = replace(BACKEND, steps=(OnLinuxBridge,))\n"
    (path / "toy_steps.py").write_text('class OnLinuxBridge:\n    KIND = "Tap"\n')
    (path / "toy_clash.py").write_text(source + steps)
    install(path, switches={"linuxbridge": "toy_clash:ROW"})
    with pytest.raises(Invalid, match="two kinds of steps are called 'Tap'"):
        registry.switch("linuxbridge")


def test_settings_of_one_of_another_package(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its section is read into its own class, and unknown keys of it are refused as of ours."""
    install(path, switches=SWITCH)
    file = tmp_path / "smartvif.toml"
    monkeypatch.setenv("SMARTVIF_CONFIG", str(file))
    file.write_text("[openvswitch]\n")
    assert settings.load().switches.keys() == {"ovs", "vrouter"}
    file.write_text('[linuxbridge]\nbridges = ["lb0"]\n')
    found: Any = settings.load().switches["linuxbridge"]
    assert list(found.bridges) == ["lb0"]
    file.write_text("[linuxbridge]\nbridge = 'lb0'\n")
    with pytest.raises(Invalid, match=r"unknown key in \[linuxbridge\]: 'bridge'"):
        settings.load()


SPEC = PortSpec(vm="vm1", mode=Mode.NORMAL, bridge="br-int")
NETWORK = "7c1d2e3f-4a5b-4c6d-8e7f-90a1b2c3d4e5"


@pytest.mark.parametrize(
    ("switch", "changes", "option", "what"),
    [
        ("ovs", {"bridge": None}, "--bridge", "it is missing, and ovs needs it"),
        ("ovs", {"network": NETWORK}, "--network", "it means nothing to ovs"),
        ("vrouter", {"bridge": None}, "--network", "it is missing, and vrouter needs it"),
        ("vrouter", {"network": NETWORK}, "--bridge", "it means nothing to vrouter"),
        (
            "vrouter",
            {"network": NETWORK, "bridge": None, "vlan": 7},
            "--vlan",
            "it means nothing to vrouter",
        ),
    ],
)
def test_what_a_switch_must_be_told(
    switch: str, changes: dict[str, Any], option: str, what: str
) -> None:
    """A field that is missing, or means nothing to the switch, is an error of that option."""
    with pytest.raises(Invalid) as caught:
        registry.switch(switch).check_fields(replace(SPEC, **changes))
    assert (caught.value.where, caught.value.what) == (option, what)
    assert "or choose another --switch" in caught.value.hint
