"""The vRouter's stock way to plug: a script that an interpreter is started for, port by port.

Of such a script only what it cannot do without: no options are parsed, nothing is checked.
It is called with ``add`` or ``delete``, the directory of the port files, the agent's address, and
the port's document or its identifier.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime

import requests

_PATIENCE = 10.0  # seconds


def add(directory: str, agent: str, text: str) -> int:
    """Write the port's file and tell the agent; the HTTP status of its answer."""
    document = json.loads(text) | {"author": sys.argv[0], "time": str(datetime.now())}
    with open(os.path.join(directory, document["id"]), "w", encoding="utf-8") as file:
        json.dump(document, file)
    return requests.post(f"{agent}/port", json=document, timeout=_PATIENCE).status_code


def delete(directory: str, agent: str, port: str) -> int:
    """Remove the port's file and tell the agent; the HTTP status of its answer."""
    os.remove(os.path.join(directory, port))
    return requests.delete(f"{agent}/port/{port}", timeout=_PATIENCE).status_code


if __name__ == "__main__":
    acts = {"add": add, "delete": delete}
    status = acts[sys.argv[1]](*sys.argv[2:])
    sys.exit(None if status == requests.codes.ok else f"the agent answered {status}")
