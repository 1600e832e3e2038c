"""The two kinds of the Prometheus operator that the platform declares, with the fields that it uses.

Written from the operator's API reference (https://prometheus-operator.dev/docs/api-reference/api/): types, required
fields and patterns are its own; what is not used is left out, and strict validation refuses it.
"""

from typing import Any

GROUP = "monitoring.coreos.com"

_TEXT = {"type": "string"}
_NAME = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_UNITS = "".join(f"(([0-9]+){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
_DURATION = {"type": "string", "pattern": f"^(0|{_UNITS})$"}

_RULE = {
    "type": "object",
    "required": ["expr"],
    "properties": {
        "alert": _TEXT,
        "expr": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "for": _DURATION,
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}
_GROUPS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": _NAME, "interval": _DURATION, "rules": {"type": "array", "items": _RULE}},
    },
}
_RELABELING = {
    "type": "object",
    "properties": {"targetLabel": _TEXT, "replacement": _TEXT, "action": {"type": "string", "default": "replace"}},
}
_ENDPOINT = {
    "type": "object",
    "properties": {
        "port": _TEXT,
        "interval": _DURATION,
        "relabelings": {"type": "array", "items": _RELABELING},
    },
}


def _definition(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    singular = kind.lower()
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, "spec": spec},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s", "singular": singular},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


DEFINITIONS = (
    _definition("PrometheusRule", {"type": "object", "properties": {"groups": _GROUPS}}),
    _definition(
        "PodMonitor",
        {
            "type": "object",
            "required": ["selector"],
            "properties": {
                "selector": {"type": "object", "properties": {"matchLabels": _TEXTS}},
                "podMetricsEndpoints": {"type": "array", "items": _ENDPOINT},
            },
        },
    ),
)
