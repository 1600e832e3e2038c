"""The three stacks side by side on the real Pulumi CLI, in one AWS account and one Cloudflare zone.

The tests share the stacks and run in the order in which they stand.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engine.conftest import Project, project_copy
from tests.engine.deployed import Deployed, deployed
from tests.integration.kubernetes.conftest import quotas_in_force

pytestmark = pytest.mark.timeout(900)

NAMES = ("name", "identifier", "bucket", "domain", "finalSnapshotIdentifier")
"""Inputs by which an account or a zone knows an object."""
WITH_PACK = ("preview", "--policy-pack", "policies")


@pytest.fixture(scope="module")
def stacks(pulumi_home: Path) -> Iterator[dict[str, Deployed]]:
    """Staging and prod, each with a cluster and a server of its own."""
    with ExitStack() as opened:
        found = {stack: opened.enter_context(deployed(stack, pulumi_home)) for stack in ("staging", "prod")}
        for stack in found.values():
            opened.enter_context(quotas_in_force(stack.kubernetes))
        yield found


@pytest.fixture(scope="module")
def dev(pulumi_home: Path) -> Iterator[Project]:
    with project_copy(pulumi_home) as copy:
        yield copy


def test_each_comes_up_and_stays_as_it_is(dev: Project, stacks: dict[str, Deployed]) -> None:
    for stack in stacks.values():
        ended = stack.up()
        assert ended.status == 0, ended.output
        again = stack.pulumi("preview", "--expect-no-changes")
        assert again.status == 0, again.output
    for summary in ("Stack dev is up: ", "Stack dev is up: no changes."):
        ended = dev.make_up()
        assert ended.status == 0, ended.output
        assert summary in ended.output


def names(stack: Deployed) -> list[str]:
    objects = [*stack.aws.objects.values(), *stack.cloudflare.objects.values()]
    return [str(made[key]) for made in objects for key in NAMES if made.get(key)]


def test_nothing_in_the_accounts_has_the_name_of_another_stacks(stacks: dict[str, Deployed]) -> None:
    staging, prod = (names(stacks[stack]) for stack in ("staging", "prod"))
    assert {"lightwave-staging", "lightwave-media-staging", "lightwave/staging/database/admin"} <= set(staging)
    assert {"lightwave-platform", "lightwave-media", "lightwave/prod/database/admin"} <= set(prod)
    assert len(staging) > 20
    assert set(staging) & set(prod) == set()


def test_the_pack_reads_the_tier_from_the_provider(stacks: dict[str, Deployed]) -> None:
    for stack in stacks.values():
        ended = stack.pulumi(*WITH_PACK)
        assert ended.status == 0, ended.output
    hidden = stacks["staging"].project.root / "stack/rds.py"
    declared = hidden.read_text()
    hidden.write_text(declared.replace('"tier": settings.tier, ', ""))
    try:
        ended = stacks["staging"].pulumi(*WITH_PACK)
    finally:
        hidden.write_text(declared)
    assert ended.status != 0
    for rule in ("data-protected", "rds-multi-az", "rds-backups", "rds-deletion-protection", "rds-final-snapshot"):
        assert rule in ended.output, rule


def test_staging_cannot_be_pointed_at_prods_names(stacks: dict[str, Deployed]) -> None:
    staging = stacks["staging"]
    before, calls = staging.inputs(), (len(staging.aws.log), len(staging.cloudflare.log))
    staging.configure("database", identifier="lightwave-platform")
    staging.configure("kubernetes", cluster="lightwave-prod")
    ended = staging.up()
    assert ended.status != 0
    for key in ("database.identifier", "kubernetes.cluster"):
        assert f"lightwave:{key}" in ended.output
    assert staging.inputs() == before
    assert (len(staging.aws.log), len(staging.cloudflare.log)) == calls
    staging.configure("database", identifier="lightwave-staging")
    staging.configure("kubernetes", cluster="lightwave-staging")


def test_prod_is_protected_and_staging_is_not(stacks: dict[str, Deployed]) -> None:
    # Previews: nothing would end the deletion of a namespace here, where no controllers run.
    refused = stacks["prod"].pulumi("destroy", "--preview-only")
    assert refused.status != 0
    assert "protected" in refused.output
    ended = stacks["staging"].pulumi("destroy", "--preview-only")
    assert ended.status == 0, ended.output
