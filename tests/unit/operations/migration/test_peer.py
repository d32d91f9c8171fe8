"""A machine as one host describes it to another, and the command by which it is asked."""

from __future__ import annotations

import inspect
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartvif.context.settings import MigrationSettings
from smartvif.model import errors
from smartvif.model.choices import Mode
from smartvif.model.error_codec import encode
from smartvif.model.errors import (
    CannotTell,
    Conflict,
    Failed,
    Invalid,
    Refused,
    SmartvifError,
    StepFailed,
    TimedOut,
)
from smartvif.model.port_spec import PortSpec
from smartvif.model.vif import Machine
from smartvif.operations.migration import peer as module
from smartvif.operations.migration.offer import MachineOffer
from smartvif.operations.migration.peer import RemotePeer
from smartvif.plug.journal import PortRecord, PortStatus
from tests.support.facts import port_facts
from tests.support.values import NEEDS

UUID = "7c1f0b7e-3f52-4c0f-9f0e-0d5f6c9f4a11"
PORT = PortSpec(
    vm="vm1",
    id="0e5eb1a2-7c3d-4a52-9f6e-5d0c8b3a1f42",
    mac="52:54:00:12:34:56",
    mode=Mode.VIRTIO_FORWARDER,
    switch="ovs",
    bridge="br-int",
    vlan=100,
    mtu=1450,
)
OFFER = MachineOffer(vm="vm1", uuid=UUID, ports=(PORT,))
DOCUMENT: dict[str, Any] = OFFER.as_json()
RECORD = PortRecord(
    id=PORT.id,
    status=PortStatus.PLUGGED,
    facts=port_facts(
        "0000:04:00.0",
        mac=PORT.mac,
        mode=PORT.mode,
        bridge=PORT.bridge,
        vlan=PORT.vlan,
        mtu=PORT.mtu,
        switch_port="p0r0",
    ),
)
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SmartvifError) and kind is not StepFailed
]
Answer = Callable[..., RemotePeer]


def ports(vm: str) -> st.SearchStrategy[PortSpec]:
    """A machine's ports, on either switch."""
    common: dict[str, Any] = {
        "vm": st.just(vm),
        "id": st.uuids().map(str),
        "mac": st.just("52:54:00:12:34:56"),
        "mode": st.sampled_from(Mode),
        "mtu": st.none() | st.integers(68, 65535),
        "needs": NEEDS,
    }
    bridge = st.from_regex(r"[a-zA-Z0-9.-]{0,14}[a-z]", fullmatch=True)
    vlan = st.none() | st.integers(1, 4094)
    ovs = st.builds(PortSpec, **common, switch=st.just("ovs"), bridge=bridge, vlan=vlan)
    network = st.uuids().map(str)
    return ovs | st.builds(PortSpec, **common, switch=st.just("vrouter"), network=network)


offers = st.text().flatmap(
    lambda vm: st.builds(
        MachineOffer,
        vm=st.just(vm),
        uuid=st.uuids().map(str),
        ports=st.tuples(ports(vm), ports(vm)),
    )
)


@given(offers)
def test_there_and_back(offer: MachineOffer) -> None:
    """What comes out of JSON is what went in; other keys beside it do no harm."""
    document = json.loads(json.dumps({**offer.as_json(), "interfaces": {}, "to": "host2"}))
    assert MachineOffer.from_json(document) == offer


def test_of_the_journal() -> None:
    """A port is described by its record, without the VF, which is each host's own."""
    assert MachineOffer.of("vm1", UUID, [RECORD]) == OFFER
    assert OFFER.machine == Machine(uuid=UUID, name="vm1")


def test_as_an_attachment() -> None:
    """The port keeps its identifier and its address, and its VF is to be chosen."""
    (request,) = MachineOffer.of("vm1", UUID, [RECORD]).ports
    assert RECORD.vf is not None
    assert (request.vm, request.id, request.mac, request.vf) == ("vm1", PORT.id, PORT.mac, None)
    assert (request.mode, request.bridge, request.vlan, request.mtu) == (
        PORT.mode,
        PORT.bridge,
        PORT.vlan,
        PORT.mtu,
    )


@pytest.mark.parametrize(
    ("mode", "transparent"), [("normal", True), ("virtio-forwarder", True), ("direct", False)]
)
def test_transparent(mode: str, transparent: bool) -> None:
    """All but a VF that the guest has itself can move unnoticed."""
    document: dict[str, Any] = OFFER.as_json()
    document["ports"][0]["mode"] = mode
    assert MachineOffer.from_json(document).ports[0].transparent is transparent


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "vm1",
        {},
        {"vm": "vm1", "uuid": UUID},
        {"vm": "vm1", "ports": []},
        {"vm": "vm1", "uuid": UUID, "ports": 1},
        {"vm": "vm1", "uuid": UUID, "ports": [{"id": "p"}]},
        {"vm": "vm1", "uuid": UUID, "ports": [{**DOCUMENT["ports"][0], "mode": "other"}]},
        {"vm": "vm1", "uuid": UUID, "ports": [{**DOCUMENT["ports"][0], "vlan": 4095}]},
        {"vm": "vm1", "uuid": UUID, "ports": [{**DOCUMENT["ports"][0], "newer": 1}]},
    ],
)
def test_no_description(document: Any) -> None:
    """Anything else is refused, with the likely cause."""
    with pytest.raises(Invalid, match="not the description of a machine") as caught:
        MachineOffer.from_json(document)
    assert "same version" in caught.value.hint


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    """Makes a host that writes down what it is asked, and answers so."""

    def make(out: str = "", err: str = "", code: int = 0) -> RemotePeer:
        script = tmp_path / "there"
        script.write_text(
            "import pathlib, sys\n"
            f"asked = pathlib.Path({str(tmp_path / 'asked')!r})\n"
            "asked.write_text('\\n'.join([*sys.argv[1:], sys.stdin.read()]))\n"
            f"sys.stdout.write({out!r})\n"
            f"sys.stderr.write({err!r})\n"
            f"sys.exit({code})\n"
        )
        remote = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} '{{host}} it' {{host}}"
        return RemotePeer("host2", MigrationSettings(remote=remote))

    return make


def said(**keys: Any) -> str:
    """An answer as the command prints it."""
    return json.dumps({"schema": "smartvif.receive/1", **keys})


def test_what_is_asked(answer: Answer, tmp_path: Path) -> None:
    """Each call is one command with the offer on its input, and returns what it says."""

    def asked(act: str) -> dict[str, Any]:
        *words, text = (tmp_path / "asked").read_text().split("\n")
        assert words == ["host2 it", "host2", "smartvif", "receive", act]
        document: dict[str, Any] = json.loads(text)
        assert MachineOffer.from_json(document) == OFFER
        return document

    found = {"problem": None, "ports": {PORT.id: "no VF"}, "address": "192.0.2.2"}
    checked = answer(said(**found)).check(OFFER)
    assert checked.as_json() == found
    asked("examine")
    assert answer(said(interfaces={PORT.id: "<x/>"})).prepare(OFFER) == {PORT.id: "<x/>"}
    asked("prepare")
    assert answer(said(failed={PORT.id: "why"})).finish(OFFER, {PORT.id: "<x/>"}) == {
        PORT.id: "why"
    }
    assert asked("finish")["interfaces"] == {PORT.id: "<x/>"}
    answer(said()).abandon(OFFER)
    asked("abandon")


def failing(error: SmartvifError) -> str:
    """What the command prints on standard output where it fails."""
    return json.dumps({"schema": "smartvif.error/1", **encode(error)}, indent=2) + "\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise", ["", "Welcome to {host2}\n{not ours}\n"])
def test_every_class(answer: Answer, kind: type[SmartvifError], noise: str) -> None:
    """Its error is ours, of its class and in its own parts, and where it happened has its name.

    What a shell's start-up file prints before it does no harm.
    """
    there = kind("there is none", where="bridge br-int", hint="make it")
    text = there.explained() + "\n"
    with pytest.raises(SmartvifError) as caught:
        answer(noise + failing(there), text, kind.exit_code).check(OFFER)
    error = caught.value
    assert type(error) is kind
    assert (error.what, error.where) == ("there is none", "host2: bridge br-int")
    assert error.hint == "make it"


def test_a_failed_step(answer: Answer) -> None:
    """The step and the class of its cause arrive as well."""
    there = StepFailed("create tap tap0", TimedOut("no answer", where="kernel"))
    with pytest.raises(StepFailed) as caught:
        answer(failing(there), code=1).prepare(OFFER)
    error = caught.value
    assert str(error) == "host2: kernel: cannot create tap tap0: no answer"
    assert (error.step, type(error.cause)) == ("create tap tap0", TimedOut)


def test_an_error_of_nowhere(answer: Answer) -> None:
    """Where the other host cannot say where, its name is all there is."""
    with pytest.raises(Conflict) as caught:
        answer(failing(Conflict("full")), code=1).check(OFFER)
    assert (caught.value.where, caught.value.hint) == ("host2", "")


def test_an_error_of_a_newer_version(answer: Answer) -> None:
    """A class that is not known here becomes what its exit code says, with its words."""
    newer = failing(Failed("torn", where="page 3")).replace("Failed", "Newer")
    for code, kind in ((1, Failed), (3, CannotTell), (4, Refused)):
        with pytest.raises(SmartvifError) as caught:
            answer(newer, code=code).check(OFFER)
        assert type(caught.value) is kind
        assert (caught.value.what, caught.value.where) == ("torn", "host2: page 3")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, Failed),
        (2, Failed),
        (3, CannotTell),
        (4, Refused),
        (126, CannotTell),
        (127, CannotTell),
        (130, Failed),
        (255, CannotTell),
    ],
)
@pytest.mark.parametrize("out", ["", said(), '{"schema": "smartvif.error/2"}\n', "{" * 9999])
def test_exit_codes(answer: Answer, code: int, kind: type[SmartvifError], out: str) -> None:
    """Without a document that is understood the kind is the exit code's, and the words stderr's."""
    words = "error: bridge br-int: there is none"
    with pytest.raises(SmartvifError) as caught:
        answer(out, words + "\n", code).check(OFFER)
    error = caught.value
    assert type(error) is kind
    assert (error.where, error.what) == ("host2", words)


@pytest.mark.parametrize(
    ("err", "what"),
    [("bash: smartvif: command not found\n", "bash: smartvif: command not found"), ("", "exit")],
)
def test_no_error_of_ours(answer: Answer, err: str, what: str) -> None:
    """What a shell or ssh says is passed on, with what the settings have to do with it."""
    with pytest.raises(CannotTell, match=what) as caught:
        answer(err=err, code=127).check(OFFER)
    assert "[migration]" in caught.value.hint


@pytest.mark.parametrize("left_out", ["problem", "ports", "address"])
def test_half_an_answer(answer: Answer, left_out: str) -> None:
    """An answer that leaves something open is none: the machine stays."""
    found = {"problem": None, "ports": {PORT.id: None}, "address": None}
    del found[left_out]
    with pytest.raises(CannotTell, match=left_out) as caught:
        answer(said(**found)).check(OFFER)
    assert caught.value.where == "host2"


@pytest.mark.parametrize("out", ["", "Welcome!\n" + said(), "[]", "5", "{}", "null", said()[:-1]])
def test_noise(answer: Answer, out: str) -> None:
    """What is no answer is shown, and not guessed at."""
    with pytest.raises(CannotTell, match="not a document") as caught:
        answer(out).check(OFFER)
    assert "start-up file" in caught.value.hint


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command itself prints where it fails is the document that is understood here."""
    path = tmp_path / "smartvif.toml"
    path.write_text("[surprise]\n")
    monkeypatch.setenv("SMARTVIF_CONFIG", str(path))
    remote = shlex.join(["env", f"PATH={Path(sys.executable).parent}"])
    with pytest.raises(Invalid) as caught:
        RemotePeer("host2", MigrationSettings(remote=remote)).check(OFFER)
    assert caught.value.where == f"host2: {path}"
    assert "surprise" in caught.value.what


def test_no_such_command() -> None:
    """Where the command is not on this host, that is said."""
    with pytest.raises(CannotTell, match=r"cannot reach it: .*no-such-command") as caught:
        RemotePeer("host2", MigrationSettings(remote="no-such-command")).abandon(OFFER)
    assert (caught.value.where, caught.value.exit_code) == ("host2", 3)


def test_no_answer_in_time() -> None:
    """A host that does not answer is given up on."""
    waiting = f"{shlex.quote(sys.executable)} -c 'import signal; signal.pause()'"
    with mock.patch.object(module, "_LONGEST", 0.2), pytest.raises(CannotTell, match="timed out"):
        RemotePeer("host2", MigrationSettings(remote=waiting)).check(OFFER)


def test_libvirt() -> None:
    """Its libvirt is where the settings say."""
    assert RemotePeer("host2", MigrationSettings()).libvirt == "qemu+ssh://host2/system"


@pytest.mark.parametrize("name", ["", "-oProxyCommand=x", "host 2", "host/2", "a\nb", "{host}"])
def test_no_name(name: str) -> None:
    """What ssh would take for an option, or a URI for another part, is no host."""
    with pytest.raises(Invalid, match="not a host name"):
        RemotePeer(name, MigrationSettings())


def test_settings_that_are_no_words() -> None:
    """A quote that does not end is said where it is."""
    with pytest.raises(Invalid, match="quotation") as caught:
        RemotePeer("host2", MigrationSettings(remote="ssh '{host}"))
    assert caught.value.where == "[migration]"
