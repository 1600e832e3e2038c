"""What the Pulumi state of a stack holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that a killed update began and whose end nobody recorded."""

    operation: str
    """creating, updating, deleting, …"""
    urn: str
    type: str
    inputs: Mapping[str, Any]
    parent: str = ""
    """URN."""
    provider: str = ""
    """URN."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A stack's state at one moment, as `pulumi stack export` prints it; its secrets stay encrypted."""

    document: Mapping[str, Any]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Everything that is recorded."""
        return self.document.get("resources") or []

    @property
    def urns(self) -> set[str]:
        """Of `resources`."""
        return {resource["urn"] for resource in self.resources}

    @property
    def pending(self) -> list[Pending]:
        """What a killed update began and did not record."""
        return [
            Pending(
                operation["type"],
                resource["urn"],
                resource["type"],
                resource.get("inputs", {}),
                resource.get("parent", ""),
                # The state adds the provider's own id.
                resource.get("provider", "").rpartition("::")[0],
            )
            for operation in self.document.get("pending_operations") or []
            for resource in [operation["resource"]]
        ]
