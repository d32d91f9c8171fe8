"""The lines of nova.conf that we read, as oslo.config reads them."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nova.conf import pci as pci_options
from oslo_config import cfg

from smartvif.choose.allow_list import nova_conf
from smartvif.model.errors import Invalid


def oslo(path: Path) -> tuple[list[str], bool]:
    """The options as Nova gets them from oslo.config."""
    conf = cfg.ConfigOpts()
    pci_options.register_opts(conf)
    conf([], project="nova", default_config_files=[str(path)])
    return conf.pci.device_spec, conf.pci.report_in_placement


LINES = [
    *("[pci]", "[PCI]", "[DEFAULT]", "[default]", "[neutron]", "", "# device_spec = no", "  "),
    *('device_spec = {"a": "b:c=d"}', "device_spec={}", "device_spec : [1]", "device_spec ="),
    *("device_spec = 'quoted'", 'device_spec = "a", "b"', "device_spec = '", "device-spec = x"),
    *("passthrough_whitelist = old", "pci_passthrough_whitelist = older", "other = 5", ";c"),
    *("  continued", "\tmore # no comment", r"device_spec = 0a$ \$x $$y $5", "no option", "= 5"),
    *("report_in_placement = true", "report_in_placement = No", "[broken", "[]", "DEVICE_SPEC=x"),
]


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(LINES), max_size=12))
@pytest.mark.filterwarnings("ignore")
def test_nova_conf(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """The options are those that oslo.config reads, and in its order; or neither reads the file."""
    text = "\n".join(lines)
    path = tmp_path_factory.getbasetemp() / "nova.conf"
    path.write_text(text)
    found, refusal = read_or_refused(text)
    if found is None:
        assert re.fullmatch(r"line \d+", refusal)
        with pytest.raises((cfg.Error, ValueError)):
            oslo(path)
    else:
        assert oslo(path) == ([entry.text for entry in found.entries], found.report_in_placement)


def read_or_refused(text: str) -> tuple[nova_conf.NovaPci | None, str]:
    """What we read, or where we cannot."""
    try:
        return nova_conf.read(text), ""
    except Invalid as error:
        return None, error.where


def test_another_options_value(tmp_path: Path) -> None:
    """oslo.config puts in the value of another option, which is not in this file alone."""
    text = "[pci]\ndevice_spec = a $report_in_placement b\n"
    path = tmp_path / "nova.conf"
    path.write_text(text)
    assert oslo(path)[0] == ["a False b"]
    with pytest.raises(Invalid, match=r"'\$report_in_placement' stands for another option"):
        nova_conf.read(text)


def test_the_letters_of_a_reference() -> None:
    """What oslo.config takes for a reference is what is refused here."""
    assert cfg.ConfigOpts.Template.idpattern == r"[_a-z][\._a-z0-9]*"
    for letter in string.printable:
        text = f"[pci]\ndevice_spec = a${letter}b" if letter not in string.whitespace else "[pci]"
        if letter.isalpha() or letter == "_":
            with pytest.raises(Invalid):
                nova_conf.read(text)
        else:
            nova_conf.read(text)
