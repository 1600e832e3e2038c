"""What a framework's service runs as: its pods and its migrations, with their defaults. Nothing else knows them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from settings.names import API_PORT, PAYLOAD_PORT
from settings.service_models import (
    AutoscalingSettings,
    PodSettings,
    ResourceSettings,
    ServiceSettings,
)

DEFAULT_REPLICAS = 2
"""One pod can be moved to another node while the other one serves."""


def _resources(cpu: str, memory: str) -> ResourceSettings:
    """Each as `request/limit`."""
    (requests_cpu, limits_cpu), (requests_memory, limits_memory) = cpu.split("/"), memory.split("/")
    return ResourceSettings(
        requestsCpu=requests_cpu,
        requestsMemory=requests_memory,
        limitsCpu=limits_cpu,
        limitsMemory=limits_memory,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PodKind:
    """One kind of pods of a service."""

    name: str
    """Of the Deployment and, where it listens, of the Service; the value of the label that network flows select."""
    account: str
    """The service account."""
    resources: ResourceSettings
    command: tuple[str, ...] = ()
    """Its command line; empty: the image's own."""
    port: int = 0
    """Where it serves HTTP; 0: it does not listen."""
    health_path: str = "/healthz"
    """Answers while the process serves requests. The database has no part in it: its failure must not restart pods."""
    start_path: str = "/healthz"
    """Answers once the service is ready for its first request."""
    alive_file: str = ""
    """For a kind that does not listen: a file in /tmp, as a pattern, that its process writes while it works."""
    alive_minutes: int = 5
    """How old that file may be."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the env Secret."""
    writable: Mapping[str, str] = field(default_factory=lambda: {"/tmp": "256Mi"})  # noqa: S108 (in the container)
    """Folders that it writes to, and how much; everything else is read-only."""
    single: bool = False
    """Whether two of it must never run at once."""

    @property
    def surge(self) -> int:
        """Pods above the replicas during a rollout."""
        return 0 if self.single else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationKind:
    """How a framework's migrations run."""

    command: tuple[str, ...]
    url: tuple[str, str]
    """The variable that the command reads, and the one of the env Secret with the direct URL that it gets instead."""
    resources: ResourceSettings
    own_image: bool
    """Whether it needs another image than the service's."""
    account: str = "migration"


@dataclass(frozen=True, kw_only=True, slots=True)
class Framework:
    """A framework's kinds of pods."""

    serving: PodKind
    migration: MigrationKind
    worker: PodKind | None = None
    beat: PodKind | None = None
    calls_payload: bool = False

    @property
    def accounts(self) -> tuple[str, ...]:
        """The service accounts, each once."""
        kinds = (kind.account for kind in (self.serving, self.worker, self.beat) if kind)
        return (*dict.fromkeys(kinds), self.migration.account)


FRAMEWORKS: Mapping[str, Framework] = {
    "payload": Framework(
        serving=PodKind(
            name="payload",
            account="payload",
            port=PAYLOAD_PORT,
            # Payload connects to the database at its first request, which takes seconds: that is part of the start.
            start_path="/api/access",
            # Kubernetes sets HOSTNAME to the pod's name; Next listens on what it says.
            env={"HOSTNAME": "0.0.0.0", "PORT": str(PAYLOAD_PORT)},  # noqa: S104 (the pod's address)
            writable={"/tmp": "256Mi", "/app/.next/cache": "512Mi"},  # noqa: S108 (in the container)
            resources=_resources(cpu="250m/1", memory="512Mi/1Gi"),
        ),
        migration=MigrationKind(
            # Of examples/payload: bare `payload migrate` does not wait for the database, and may do nothing at all.
            command=("node", "migrate.mjs"),
            url=("DATABASE_URI", "DATABASE_URI_DIRECT"),
            resources=_resources(cpu="100m/1", memory="512Mi/1Gi"),
            # Next's standalone output has no Payload command.
            own_image=True,
        ),
    ),
    "django": Framework(
        serving=PodKind(
            name="api", account="api", port=API_PORT, resources=_resources(cpu="250m/1", memory="256Mi/512Mi")
        ),
        worker=PodKind(
            name="worker",
            account="worker",
            command=("celery", "-A", "lightwave", "worker", "--loglevel", "info", "--concurrency", "2"),
            alive_file="celery-worker-alive",
            resources=_resources(cpu="250m/1", memory="384Mi/768Mi"),
        ),
        beat=PodKind(
            name="beat",
            account="worker",
            command=("celery", "-A", "lightwave", "beat", "--schedule", "/tmp/celerybeat-schedule"),  # noqa: S108
            # Celery writes its schedule every 3 minutes, or after the 5 minutes that it sleeps at most.
            alive_file="celerybeat-schedule*",
            alive_minutes=15,
            resources=_resources(cpu="50m/200m", memory="128Mi/256Mi"),
            # Two would send every periodic task twice.
            single=True,
        ),
        migration=MigrationKind(
            # wait_for_database is of examples/django.
            command=("sh", "-c", "python manage.py wait_for_database && exec python manage.py migrate --noinput"),
            url=("DATABASE_URL", "DATABASE_URL_DIRECT"),
            resources=_resources(cpu="100m/1", memory="256Mi/512Mi"),
            own_image=False,
        ),
        calls_payload=True,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pods:
    """One kind of pods as a stack declares it, with the framework's defaults filled in."""

    kind: PodKind
    key: tuple[str, ...]
    """Where its settings are in the service's entry."""
    replicas: int
    """The number of pods; with `autoscaling`, the most that it makes."""
    replicas_given: bool
    autoscaling: AutoscalingSettings | None
    resources: ResourceSettings
    command: tuple[str, ...]

    @property
    def most(self) -> int:
        """The most pods at once, in a rollout."""
        return self.replicas + self.kind.surge


def pods(framework: Framework, service: ServiceSettings) -> Iterator[Pods]:
    """The pods of a service; a worker or beat that the framework does not have is left out."""
    yield _pods(framework.serving, (), service)
    if framework.worker and service.worker:
        yield _pods(framework.worker, ("worker",), service.worker)
    if framework.beat and service.beat:
        beat = service.beat
        single = PodSettings(replicas=1, resources=beat.resources, command=beat.command)
        yield _pods(framework.beat, ("beat",), single)


def _pods(kind: PodKind, key: tuple[str, ...], given: PodSettings) -> Pods:
    replicas = DEFAULT_REPLICAS if given.replicas is None else given.replicas
    return Pods(
        kind=kind,
        key=key,
        replicas=given.autoscaling.max if given.autoscaling else replicas,
        replicas_given=given.replicas is not None,
        autoscaling=given.autoscaling,
        resources=given.resources or kind.resources,
        command=given.command or kind.command,
    )
