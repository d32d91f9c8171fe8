"""virtioforwarder.proto, what is shipped of it compiled, and what the package says beside it."""

from __future__ import annotations

import shutil
import subprocess
from enum import IntEnum
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from smartvif.drivers.forwarder import virtio_forwarder
from smartvif.drivers.forwarder.virtio_forwarder import messages
from smartvif.drivers.forwarder.virtio_forwarder.messages import (
    CoreOp,
    PortControlOp,
    ReadStatus,
    Status,
)

FOLDER = Path(str(resources.files(virtio_forwarder)))


def shipped() -> FileDescriptorSet:
    """What the package has."""
    return FileDescriptorSet.FromString((FOLDER / "virtioforwarder.desc").read_bytes())


@pytest.mark.skipif(shutil.which("protoc") is None, reason="there is no protoc here")
def test_compiled(tmp_path: Path) -> None:
    """What is shipped is what protoc makes of the file."""
    made = tmp_path / "made.desc"
    subprocess.run(
        ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={made}", "virtioforwarder.proto"],
        check=True,
    )
    assert FileDescriptorSet.FromString(made.read_bytes()) == shipped()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Op", PortControlOp), ("CoreOp", CoreOp), ("Status", Status), ("ReadStatus", ReadStatus)],
)
def test_enums(name: str, kind: type[IntEnum]) -> None:
    """The enums have the same names and numbers here and there."""
    (file,) = shipped().file
    (found,) = (each for each in file.enum_type if each.name == name)
    # The names of an enum's values are its surroundings'.
    there = {value.name.removeprefix(f"{name}_"): value.number for value in found.value}
    assert there == {value.name: value.value for value in kind}


def test_services() -> None:
    """Every service's messages are in the file."""
    (file,) = shipped().file
    names = {message.name for message in file.message_type}
    for service in messages.SERVICES:
        assert {service.request, service.response} <= names


def test_private_pool() -> None:
    """Another module may have the daemon's own file loaded, with the same names."""
    messages.new("Cpus")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("virtioforwarder.Cpus")
