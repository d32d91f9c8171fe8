"""The least that a plug can cost here: what no plugin on this switch can do without.

One transaction on a kept connection, the wait for ovs-vswitchd, and one netlink message; the
representor's name is known. Nothing is looked up, checked, recorded, or undone on failure.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from bench.plug.cases import MTU, Case, Kind
from smartvif.sim.host import BRIDGE, OPENVSWITCH

# include/uapi/linux/rtnetlink.h, if_link.h, netlink.h, if.h, if_tun.h
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_IFLA_MTU, _IFF_UP = 4, 1
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x2, 0x1000


class Floor:
    """Our own shortest code, on one thread."""

    def __init__(self) -> None:
        self._database = socket.socket(socket.AF_UNIX)
        self._database.connect(f"{OPENVSWITCH}/db.sock")
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._decoder, self._text, self._cur_cfg = json.JSONDecoder(), "", -1
        watch = {"Open_vSwitch": [{"columns": ["cur_cfg"]}]}
        self._take(self._request("monitor", ["Open_vSwitch", None, watch]))

    def plug(self, case: Case) -> None:
        """Plug one port."""
        self.plug_all([case])

    def unplug(self, case: Case) -> None:
        """Take it away again."""
        self.unplug_all([case])

    def plug_all(self, cases: Sequence[Case]) -> None:
        """Plug any number of ports in one transaction.

        Links come up last: each change of a link has ovs-vswitchd look at every port of the
        switch again, and the transaction would wait for that.
        """
        for case in cases:
            if case.kind is Kind.TAP:
                _make_tap(case.netdev)
        self.add_ports({case.netdev: case.external_ids for case in cases})
        mtu = struct.pack("=HHI", 8, _IFLA_MTU, MTU)
        for case in cases:
            self._link(_RTM_NEWLINK, case.netdev, flags=_IFF_UP, attributes=mtu)

    def unplug_all(self, cases: Sequence[Case]) -> None:
        """Take any number of ports away in one transaction."""
        self._remove_ports([case.netdev for case in cases])
        for case in cases:
            kind = _RTM_DELLINK if case.kind is Kind.TAP else _RTM_NEWLINK
            self._link(kind, case.netdev)

    def add_ports(self, external_ids: dict[str, dict[str, str]]) -> None:
        """Add a port for every netdev named, with those identifiers."""
        ops: list[dict[str, Any]] = []
        for number, (name, ids) in enumerate(external_ids.items()):
            interface, qos, port = (f"{what}{number}" for what in ("i", "q", "p"))
            row = {"name": name, "external_ids": ["map", [list(pair) for pair in ids.items()]]}
            ops += [
                _insert("Interface", row, interface),
                _insert("QoS", {"type": "linux-noop"}, qos),
                _insert(
                    "Port",
                    {
                        "name": name,
                        "interfaces": ["named-uuid", interface],
                        "qos": ["named-uuid", qos],
                    },
                    port,
                ),
                _mutate(
                    "Bridge",
                    ["name", "==", BRIDGE],
                    ["ports", "insert", ["named-uuid", port]],
                ),
            ]
        self._commit(ops)

    def _remove_ports(self, names: Sequence[str]) -> None:
        where = [
            {
                "op": "select",
                "table": "Port",
                "where": [["name", "==", name]],
                "columns": ["_uuid", "qos"],
            }
            for name in names
        ]
        ops: list[dict[str, Any]] = []
        for found in self._request("transact", ["Open_vSwitch", *where]):
            (row,) = found["rows"]
            ops += [
                {
                    "op": "update",
                    "table": "Port",
                    "where": [["_uuid", "==", row["_uuid"]]],
                    "row": {"qos": ["set", []]},
                },
                _mutate("Bridge", ["name", "==", BRIDGE], ["ports", "delete", row["_uuid"]]),
                {"op": "delete", "table": "QoS", "where": [["_uuid", "==", row["qos"]]]},
            ]
        self._commit(ops)

    def _commit(self, ops: list[dict[str, Any]]) -> None:
        bump = [
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["next_cfg", "+=", 1]],
            },
            {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]},
        ]
        results = self._request("transact", ["Open_vSwitch", *ops, *bump])
        failed = [result for result in results if result and "error" in result]
        if failed:
            raise RuntimeError(f"OVSDB refused: {failed}")
        wanted = results[-1]["rows"][0]["next_cfg"]
        while self._cur_cfg < wanted:
            self._receive()

    def _request(self, method: str, params: list[Any]) -> Any:
        request = {"id": 0, "method": method, "params": params}
        self._database.sendall(json.dumps(request).encode())
        while True:
            message = self._receive()
            if message.get("id") == 0 and "result" in message:
                return message["result"]

    def _receive(self) -> dict[str, Any]:
        """The next message; updates and probes are dealt with."""
        while True:
            try:
                message, end = self._decoder.raw_decode(self._text)
                break
            except json.JSONDecodeError:
                self._text += self._database.recv(1 << 16).decode()
        self._text = self._text[end:].lstrip()
        if message.get("method") == "update":
            self._take(message["params"][1])
        elif message.get("method") == "echo":
            reply = {"id": message["id"], "result": message["params"], "error": None}
            self._database.sendall(json.dumps(reply).encode())
        found: dict[str, Any] = message
        return found

    def _take(self, update: dict[str, Any]) -> None:
        for change in update.get("Open_vSwitch", {}).values():
            self._cur_cfg = change["new"]["cur_cfg"]

    def _link(self, kind: int, name: str, flags: int = 0, attributes: bytes = b"") -> None:
        """Set a link up or down, with attributes, or delete it."""
        index = socket.if_nametoindex(name)
        body = struct.pack("=BxHiII", 0, 0, index, flags, _IFF_UP) + attributes
        header = struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
        self._netlink.send(header + body)
        (error,) = struct.unpack_from("=i", self._netlink.recv(1 << 16), 16)
        if error:
            raise OSError(-error, os.strerror(-error), name)


def _insert(table: str, row: dict[str, Any], name: str) -> dict[str, Any]:
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def _mutate(table: str, where: list[Any], mutation: list[Any]) -> dict[str, Any]:
    return {"op": "mutate", "table": table, "where": [where], "mutations": [mutation]}


def _make_tap(name: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
        fcntl.ioctl(tun, _TUNSETPERSIST, 1)
    finally:
        os.close(tun)
