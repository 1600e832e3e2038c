"""What the platform's own pods have in common."""

import hashlib
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core.v1 import ContainerArgsDict, EnvVarArgsDict, ProbeArgsDict, SecurityContextArgsDict

LOCKED_DOWN: SecurityContextArgsDict = {
    "allow_privilege_escalation": False,
    "read_only_root_filesystem": True,
    "run_as_non_root": True,
    "capabilities": {"drop": ["ALL"]},
}
"""What every container is held to; the namespaces' Pod Security level `restricted` asks for most of it."""

_NOBODY = 65534
"""User and group of a container that owns no file."""


def rollout_annotations(
    *, config: pulumi.Input[str], rotations: Mapping[str, int], secrets: Sequence[str], container: str
) -> dict[str, pulumi.Input[str]]:
    """Annotations of a pod template that roll its pods: neither a changed ConfigMap nor a changed Secret does.

    For a configuration its checksum; for secrets their rotation counters, since a checksum would say something about
    them. `container` is the one that kubectl takes where none is named.
    """
    return {
        "lightwave.media/config-sha256": pulumi.Output.from_input(config).apply(
            lambda text: hashlib.sha256(text.encode()).hexdigest()
        ),
        "lightwave.media/rotations": " ".join(f"{name}={rotations.get(name, 0)}" for name in sorted(secrets)),
        "kubectl.kubernetes.io/default-container": container,
    }


def metrics_exporter(
    *, image: pulumi.Input[str] | None, port: int, path: str, env: Sequence[EnvVarArgsDict]
) -> ContainerArgsDict:
    """A Prometheus exporter beside the server. `path` answers for the exporter alone: with /metrics, which asks the
    server, the server's failure would restart what would not mend it."""

    def probe(*, period_seconds: int, failure_threshold: int) -> ProbeArgsDict:
        return {
            "http_get": {"path": path, "port": port},
            "period_seconds": period_seconds,
            "failure_threshold": failure_threshold,
            "timeout_seconds": 2,
        }

    return {
        "name": "exporter",
        "image": image,
        "args": [f"--web.listen-address=:{port}"],
        "env": env,
        "ports": [{"name": "metrics", "container_port": port, "protocol": "TCP"}],
        "startup_probe": probe(period_seconds=2, failure_threshold=30),
        "readiness_probe": probe(period_seconds=10, failure_threshold=3),
        "liveness_probe": probe(period_seconds=30, failure_threshold=3),
        "resources": {
            "requests": {"cpu": "20m", "memory": "32Mi"},
            "limits": {"cpu": "100m", "memory": "64Mi"},
        },
        "security_context": {**LOCKED_DOWN, "run_as_user": _NOBODY, "run_as_group": _NOBODY},
    }
