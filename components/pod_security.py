"""What every container of ours is held to; the namespaces' Pod Security level `restricted` asks for most of it."""

from pulumi_kubernetes.core.v1 import SecurityContextArgsDict

LOCKED_DOWN: SecurityContextArgsDict = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "run_as_non_root": True,
    "capabilities": {"drop": ["ALL"]},
}

NOBODY = 65534
"""User and group of a container that owns no file."""
