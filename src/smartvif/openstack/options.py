"""The options of the os-vif plugins, as oslo.config has them; docs/reference/os-vif.md lists them.

os-vif registers them in the group ``os_vif_`` and the plugin's name.
"""

from __future__ import annotations

from oslo_config import cfg

_LONGEST = 3600  # seconds; more than any useful wait

_COMMON = [
    cfg.StrOpt(
        "state_path",
        default="/var/lib/smartvif",
        help="The directory of the journal. The service must be able to write there. The smartvif"
        " command, as root, shows and reconciles the ports of the journal in /var/lib/smartvif.",
    ),
    cfg.StrOpt(
        "forwarder_engine",
        default="",
        help="The engine that is the virtio forwarder, by its name. Empty: the one that the options"
        " after it are for, if any.",
    ),
    cfg.StrOpt(
        "forwarder_database",
        default="",
        help="Where the virtio forwarder's own OVSDB server is. Empty: there is no forwarder.",
    ),
    cfg.StrOpt(
        "forwarder_netns",
        default="",
        help="The network namespace that the virtio forwarder is in, see ip-netns(8).",
    ),
    cfg.StrOpt(
        "forwarder_daemon",
        default="",
        help="The directory of virtio-forwarder's sockets, where that daemon is the forwarder.",
    ),
    cfg.FloatOpt(
        "forwarder_timeout",
        default=10.0,
        min=0.1,
        max=_LONGEST,
        help="Seconds that one call may take of the virtio forwarder.",
    ),
]

AGILIO_OVS = [
    cfg.StrOpt(
        "ovsdb_connection",
        # As os-vif's own plugin has it: an ordinary user may not use the server's UNIX socket.
        default="tcp:127.0.0.1:6640",
        help="Where Open vSwitch's OVSDB server is: unix:PATH or tcp:HOST:PORT.",
    ),
    cfg.FloatOpt(
        "ovs_timeout",
        default=10.0,
        min=0.1,
        max=_LONGEST,
        help="Seconds that one call may take of Open vSwitch.",
    ),
    *_COMMON,
]
"""Options in ``[os_vif_agilio_ovs]``."""

VROUTER_GROUP = "os_vif_vrouter"

VROUTER = [
    cfg.StrOpt(
        "agent",
        default="http://127.0.0.1:9091",
        help="The port API of the vRouter's agent.",
    ),
    cfg.FloatOpt(
        "agent_timeout",
        default=5.0,
        min=0.1,
        max=_LONGEST,
        help="Seconds that one call may take of the agent.",
    ),
    cfg.StrOpt(
        "ports_directory",
        default="/var/lib/contrail/ports",
        help="The directory from which the agent reads its ports when it starts.",
    ),
    *_COMMON,
]
"""Options in ``[os_vif_vrouter]``, of the plugin ``contrail_vrouter`` too."""


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator: every option by its group."""
    return [("os_vif_agilio_ovs", AGILIO_OVS), (VROUTER_GROUP, VROUTER)]
