"""The services that a stack runs, as frozen, typed values: the section `services`.

The docstrings are the meanings in docs/configuration.md (`.venv/bin/python -m settings.reference`).
"""

from typing import Annotated

from pydantic import Field

from settings import values
from settings.models import Section


class ResourceSettings(Section):
    """What each pod may use; a framework's own figures without it. No request above its limit."""

    requests_cpu: values.Quantity
    """CPU that a node keeps free for the pod."""
    requests_memory: values.Quantity
    """Memory that a node keeps free for the pod."""
    limits_cpu: values.Quantity
    """CPU above which the pod is slowed down."""
    limits_memory: values.Quantity
    """Memory above which the pod is killed."""


class AutoscalingSettings(Section):
    """A HorizontalPodAutoscaler in place of `replicas`; it needs the cluster's metrics server."""

    min: Annotated[int, Field(ge=1, le=100)]
    """The fewest pods."""
    max: Annotated[int, Field(ge=1, le=100)]
    """The most pods, `min` or more; the quota must hold them."""
    cpu_percent: Annotated[int, Field(ge=10, le=100)] = 70
    """Average CPU use of the pods, in percent of their request, above which pods are added."""


class BeatSettings(Section):
    """Celery's scheduler, beside `worker`: always one pod, which stops before its successor starts."""

    resources: ResourceSettings | None = None
    command: tuple[values.CommandWord, ...] = ()
    """Its command line; `celery -A lightwave beat` without it."""


class PodSettings(Section):
    """Celery's workers, for Django with `valkey`."""

    replicas: Annotated[int, Field(ge=0, le=100)] | None = None
    """Number of pods; 2 without it. 0 stops them."""
    autoscaling: AutoscalingSettings | None = None
    resources: ResourceSettings | None = None
    command: tuple[values.CommandWord, ...] = ()
    """The container's command line; without it the image's own, and `celery -A lightwave worker` for a worker."""


class MigrationSettings(Section):
    """The Job that migrates the service's schema before its pods are replaced; a failed one stops the rollout."""

    enabled: bool = True
    """Whether there is one."""
    image: values.ImageDigest | None = None
    """Image that it runs; the service's own without it. Required for Payload, whose server image has no `payload`
    command."""
    command: tuple[values.CommandWord, ...] = ()
    """Its command line; without it the command of the example service, which waits for the database first."""
    minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """How long it may take, retries included."""
    resources: ResourceSettings | None = None


class ServiceSettings(PodSettings):
    """A service that this stack runs, by product; of a product without an entry only the guard rails are declared."""

    image: values.ImageDigest
    """The release, by tag and digest; `make release` writes it."""
    migration: MigrationSettings = MigrationSettings()
    worker: PodSettings | None = None
    beat: BeatSettings | None = None
    priority_class: values.ClusterFact | None = None
    """A PriorityClass of the cluster for its pods."""
