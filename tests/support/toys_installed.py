"""Having the toy package beside smartvif, as if it had been installed, for one process."""

from __future__ import annotations

from pathlib import Path

TOYS = Path(__file__).with_name("toy_package")
SWITCH = {"linuxbridge": "toy_linuxbridge:BACKEND"}
ENGINE = {"toy": "toy_forwarder:ToyEngine"}


def install(
    where: Path,
    *,
    switches: dict[str, str] | None = None,
    forwarders: dict[str, str] | None = None,
    name: str = "toy-package",
) -> dict[str, str]:
    """Write the package's metadata, with these entry points, below ``where``.

    Returns the environment in which Python finds it, and the package's modules.
    """
    info = where / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = {"smartvif.switches": switches or {}, "smartvif.forwarders": forwarders or {}}
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {"PYTHONPATH": f"{where}:{TOYS}"}
