"""Processor time of commands that look or help, beside that of a Python that does nothing.

It is most of what such a command takes, and nearly all of it is imports. A machine's load disturbs
it less than the time on a clock. The host is the one that it runs on, with one port in a journal of
its own, whose switch does not answer.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click

from smartvif.drivers.ovs.rows import OvsPortSpec
from smartvif.model.choices import Mode
from smartvif.model.port_facts import PortFacts
from smartvif.plug.journal import Journal, PortStatus
from smartvif.plug.steps.ovs import SwitchPort

_PORT = "0b9f9d6e-7f0c-4a53-9a43-3f5d1e1c2a77"
_COMMANDS = (
    ("--help",),
    ("attach", "--help"),
    ("ports",),
    ("show", _PORT),
    ("nic", "list"),
)
_FLOOR = (sys.executable, "-c", "pass")


def processor_time(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds of the processor that a command took, in user and kernel mode; its output is lost."""
    lost = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, lost, end) for end in (1, 2)]
    try:
        child = os.posix_spawnp(words[0], list(words), environment, file_actions=actions)
    finally:
        os.close(lost)
    _, status, usage = os.wait4(child, 0)
    # 3: the port's state is unknown, as it should be.
    if os.waitstatus_to_exitcode(status) not in {0, 3}:
        raise click.ClickException(f"it failed: {' '.join(words)}")
    return usage.ru_utime + usage.ru_stime


def add_port(directory: Path) -> None:
    """Write a port of Open vSwitch to the journal in ``directory``."""
    facts = PortFacts(
        vm="vm1",
        mode=Mode.NORMAL,
        switch="ovs",
        vif_type="ovs",
        bridge="br-int",
        mac="52:54:00:12:34:56",
        switch_port="tap0",
    )
    journal = Journal(directory)
    journal.begin(_PORT, facts)
    step = SwitchPort(spec=OvsPortSpec(bridge="br-int", name="tap0", owner=_PORT))
    journal.doing(_PORT, 0, step, {})
    journal.done(_PORT, 0)
    journal.set_status(_PORT, PortStatus.PLUGGED)
    journal.close()


@click.command()
@click.option("--quick", is_flag=True, help="A smoke run: few rounds, figures mean nothing.")
def main(quick: bool) -> None:
    """Measure all, in turn: each round runs every command once."""
    smartvif = f"{sysconfig.get_path('scripts')}/smartvif"
    commands = [(smartvif, *words) for words in _COMMANDS]
    taken: dict[Sequence[str], list[float]] = {words: [] for words in (_FLOOR, *commands)}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "smartvif.toml"
        config.write_text(f'[openvswitch]\ndatabase = "unix:{directory}/none"\n')
        environment = os.environ | {
            "SMARTVIF_CONFIG": str(config),
            "SMARTVIF_STATE_DIR": name,
            "LIBVIRT_DEFAULT_URI": "test:///default",  # libvirt's own, without a daemon
        }
        add_port(directory)
        for number in range(2 if quick else 21):
            for words, times in taken.items():
                seconds = processor_time(words, environment)
                if number > 0:  # the first may have had to compile modules
                    times.append(seconds)
    floor = median(taken[_FLOOR])
    click.echo(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    click.echo(f"{'processor time':40} {'ms':>8} {'ratio':>7}")
    click.echo(f"{'python -c pass':40} {floor * 1e3:8.1f} {1:7.2f}")
    for command, words in zip(commands, _COMMANDS, strict=True):
        spent = median(taken[command])
        shown = " ".join(["smartvif", *words]).replace(_PORT, _PORT[:8])
        click.echo(f"{shown:40} {spent * 1e3:8.1f} {spent / floor:7.2f}")


if __name__ == "__main__":
    main()
