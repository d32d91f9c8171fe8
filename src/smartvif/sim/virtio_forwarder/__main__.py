"""The simulated virtio-forwarder as a process: sockets in a directory, relays in memory.

It ends where the daemon would die of a request.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from smartvif.model.errors import SmartvifError
from smartvif.model.pci import PciAddress
from smartvif.sim.virtio_forwarder.relays import Relays
from smartvif.sim.virtio_forwarder.server import ZmqServer


def main() -> int:
    """Run until told to end, or until a request that the daemon does not survive.

    Raises: SmartvifError, where it cannot start.
    """
    parser = argparse.ArgumentParser(
        prog="python -m smartvif.sim.virtio_forwarder", description=__doc__
    )
    parser.add_argument("--directory", type=Path, required=True, help="directory of the sockets")
    parser.add_argument(
        "--vf", action="append", help="a VF that can be taken; repeatable; without it any can"
    )
    asked = parser.parse_args()
    vfs = {PciAddress.parse(text) for text in asked.vf} if asked.vf else None
    server = ZmqServer(asked.directory, Relays(vfs=vfs))
    server.start()
    # Told to end, it ends at once, as when it is killed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(f"simulated virtio-forwarder: at work in {asked.directory}", flush=True)
    server.ended.wait()
    server.stop()
    print(f"simulated virtio-forwarder: dead: {server.crash}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SmartvifError as failure:
        print(failure.explained(), file=sys.stderr)
        sys.exit(failure.exit_code)
