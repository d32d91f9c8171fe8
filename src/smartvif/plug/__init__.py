"""Taking a plan's steps and taking them back: journal, executor, orphans."""

__all__ = [
    "difference",
    "each_port",
    "executor",
    "journal",
    "journal_versions",
    "orphans",
    "plans",
    "port_vf",
    "replug",
    "steps",
]
