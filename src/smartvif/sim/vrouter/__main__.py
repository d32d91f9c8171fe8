"""The simulated vRouter as a process: agent, datapath and introspect in one.

It ends at once on a signal, as when it is killed: what it leaves in the card and in the
kernel, the next one clears away.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import traceback
from pathlib import Path

from smartvif.model.errors import Refused, SmartvifError
from smartvif.sim.nic.eswitch import Eswitch
from smartvif.sim.vrouter import api, introspect
from smartvif.sim.vrouter.datapath import Datapath
from smartvif.sim.vrouter.hold import HostFilter
from smartvif.sim.vrouter.introspect import Introspect
from smartvif.sim.vrouter.loop import Loop
from smartvif.sim.vrouter.offload import CardOffload
from smartvif.sim.vrouter.ports import Ports
from smartvif.sim.vrouter.tunnel import Tunnels


def main() -> None:
    """Run until killed.

    Raises: SmartvifError, where it cannot start.
    """
    asked = _arguments()
    alone = _alone()
    tunnels = Tunnels(address=asked.underlay, peers=tuple(asked.peer)) if asked.underlay else None
    loop, eswitch, faults = Loop(), Eswitch(), api.Faults()
    datapath = Datapath(loop, CardOffload(eswitch), HostFilter(), tunnels)
    datapath.start()
    ports = Ports(asked.ports, listener=datapath, upstream=asked.upstream)
    # The real agent passes over a port whose netdev is not there, and never looks again.
    for name, reason in ports.reload(_is_netdev if asked.upstream else _may_come).items():
        print(f"port file {name} is passed over: {reason}", file=sys.stderr, flush=True)
    documents = introspect.IntrospectServer(Introspect(loop, datapath, eswitch, faults))
    threading.Thread(target=documents.serve_forever, daemon=True).start()
    api.serve(ports, faults=faults).start()
    with alone:
        loop.run(datapath.tick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m smartvif.sim.vrouter", description=__doc__)
    parser.add_argument("--ports", type=Path, required=True, help="directory of the port files")
    parser.add_argument("--underlay", help="this host's address for tunnels")
    parser.add_argument("--peer", action="append", default=[], help="another host's; repeatable")
    parser.add_argument("--upstream", action="store_true", help="with the real agent's quirks")
    return parser.parse_args()


def _alone() -> socket.socket:
    """What only one vRouter of a network namespace can have, for as long as it is open (unix(7)).

    Raises: Refused: what another one at work has would be cleared away.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind("\0smartvif-vrouter")
    except OSError as error:
        claim.close()
        raise Refused("another vRouter is at work here", where="sim") from error
    return claim


def _is_netdev(name: str) -> bool:
    return name in {found for _, found in socket.if_nameindex()}


def _may_come(_name: str) -> bool:
    return True


if __name__ == "__main__":
    try:
        main()
    except SmartvifError as failure:
        print(failure.explained(), file=sys.stderr)
    except Exception:
        traceback.print_exc()
    # Threads of the port API may still wait for a datapath that has ended.
    sys.stderr.flush()
    os._exit(1)
