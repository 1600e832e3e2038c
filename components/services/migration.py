"""The Job that migrates a service's schema, before the release's pods replace the old ones."""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.batch.v1 import Job
from pulumi_kubernetes.core.v1 import ContainerArgsDict

from components.kubernetes.network_flows import MIGRATION
from components.kubernetes.pods import metadata, secret_env
from components.services.pods import service_pod
from settings import MigrationKind, MigrationSettings, Product

RETRIES = 2
"""A migration that waits 5 seconds for a lock fails; the next attempt may get it."""
_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationArgs:
    """Arguments of `Migration`."""

    product: Product
    kind: MigrationKind
    settings: MigrationSettings
    image: str
    """By tag and digest: a Job runs once for each."""
    env_secret: pulumi.Input[str]
    """Name of the Secret with the service's environment."""
    ca: bool
    """Whether there are CA certificates to mount."""
    wait_for_rollout: bool = True
    """Whether an update waits until the Job has succeeded; False where the API server runs no pods."""

    def __post_init__(self) -> None:
        if self.product.namespace is None:
            raise pulumi.InputPropertyError("product", f"{self.product.name} has no namespace")

    @property
    def job_name(self) -> str:
        """`migration-` and the beginning of the image's digest."""
        return f"migration-{self.image.rpartition('sha256:')[2][:_DIGEST_CHARACTERS]}"


class Migration(pulumi.ComponentResource):
    """A Job on the direct URL, where a session keeps its locks; what depends on it waits until it has succeeded.

    A failed one stops the update before anything is rolled out, and the next update runs it again. The Job is not
    removed when it is done (no ttlSecondsAfterFinished): Pulumi would create it again.
    """

    job: pulumi.Output[str]
    """Name of the Job."""

    def __init__(self, name: str, args: MigrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:services:Migration", name, {}, opts)
        seconds = args.settings.minutes * 60
        variable, direct = args.kind.url
        container: ContainerArgsDict = {
            "name": "migration",
            "image": args.image,
            "command": list(args.settings.command or args.kind.command),
        }
        pod = service_pod(
            container,
            account=args.kind.account,
            env_secret=args.env_secret,
            env=[secret_env(variable, args.env_secret, direct)],
            ca=args.ca,
            given=args.settings.resources or args.kind.resources,
            writable={"/tmp": "256Mi"},  # noqa: S108 (in the container)
        )
        job = Job(
            f"{name}-job",
            metadata=metadata(
                args.job_name,
                str(args.product.namespace),
                MIGRATION,
                wait=args.wait_for_rollout,
                # A failed Job is run again by the next update. Where nobody waits, none is known to be done.
                annotations={"pulumi.com/replaceUnready": "true"} if args.wait_for_rollout else None,
            ),
            spec={
                "backoff_limit": RETRIES,
                "active_deadline_seconds": seconds,
                "template": {"metadata": {"labels": dict(MIGRATION)}, "spec": {**pod, "restart_policy": "Never"}},
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{seconds + 60}s", update=f"{seconds + 60}s"),
            ),
        )
        self.job = job.metadata.apply(lambda metadata: str(metadata.name))
        self.register_outputs({"job": self.job})
