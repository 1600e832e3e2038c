"""Rules of the tiers: what production demands, and that no stack can take the names of another one."""

import re
from typing import Any

import pytest

import settings
from settings import files, names
from tests.unit.conftest import FACTS_OF_PROD, full_config
from tests.unit.settings.changes import load, problems, put

MEDIA = {**FACTS_OF_PROD["media"], "zone": "a.site", "domain": "cdn.a.site"}

CHEAP = {"database.multiAz": False, "database.backupRetentionDays": 1, "protect": False}


def a_staging_config(stack: str = "qa") -> dict[str, Any]:
    """Prod's config as another stack's: what each refusal asks for is done."""
    config = full_config("prod")
    for path, value in (
        ("database.identifier", f"database-{stack}"),
        ("media.bucket", f"bucket-{stack}"),
        ("media.domain", f"cdn-{stack}.lightwave-media.site"),
        ("media.zoneSingletons", False),
        ("kubernetes.cluster", f"cluster-{stack}"),
        ("edge.hostnames.payload", f"cms-{stack}.lightwave-media.site"),
        *CHEAP.items(),
    ):
        put(config, path, value)
    config["lightwave:tier"] = "staging"
    return config


def refused(stack: str, config: dict[str, Any]) -> dict[str, str]:
    """By key, what is expected there."""
    with pytest.raises(settings.SettingsError) as error:
        load(stack, config)
    assert all(problem.fix for problem in error.value.problems)
    return {problem.key.removeprefix("lightwave:"): problem.expected for problem in error.value.problems}


def test_every_stack_names_its_tier() -> None:
    config = full_config("dev")
    del config["lightwave:tier"]
    with pytest.raises(settings.SettingsError) as error:
        load("dev", config)
    [problem] = error.value.problems
    assert (problem.key, problem.what) == ("lightwave:tier", "is missing")
    assert problem.expected == '"development" or "staging" or "production"'
    assert problem.fix == "pulumi config set --stack dev --path lightwave:tier VALUE"


def test_no_stack_inherits_a_tier() -> None:
    """A default in Pulumi.yaml would be the tier of every stack that forgot its own."""
    assert "lightwave:tier" not in files.project_defaults()


@pytest.mark.parametrize(
    ("stack", "base", "tier", "expected"),
    [
        ("dev", "dev", "staging", "development"),
        ("dev", "dev", "production", "development"),
        ("prod", "prod", "staging", "production: no other tier may have its names"),
        ("prod", "prod", "development", "production: no other tier may have its names"),
        ("prod", "dev", "development", "production: no other tier may have its names"),
        ("prod", "dev", "production", "development"),
        ("dev", "dev", "test", '"development" or "staging" or "production"'),
    ],
)
def test_the_tier_goes_with_the_database(stack: str, base: str, tier: str, expected: str) -> None:
    config = {**full_config(base), "lightwave:tier": tier}
    assert refused(stack, config)["tier"] == expected


def test_rds_is_not_for_development() -> None:
    config = {**a_staging_config(), "lightwave:tier": "development"}
    assert refused("qa", config) == {"tier": "staging or production"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"protect": False}, {"protect": "true: in production everything that holds data is protected"}),
        ({"database.multiAz": False}, {"database.multiAz": "true in production"}),
        ({"database.backupRetentionDays": 6}, {"database.backupRetentionDays": "7 to 35 in production"}),
    ],
)
@pytest.mark.parametrize("stack", ["prod", "prod-eu"])
def test_production_demands_safety_under_every_name(
    stack: str, change: dict[str, Any], expected: dict[str, str]
) -> None:
    config = full_config("prod") if stack == "prod" else a_staging_config(stack)
    for path, value in (dict.fromkeys(CHEAP, True) | {"database.backupRetentionDays": 7} | change).items():
        put(config, path, value)
    config["lightwave:tier"] = "production"
    assert refused(stack, config) == expected


@pytest.mark.parametrize("stack", ["qa", "staging", "QA_2", "media", "prod-eu"])
def test_staging_may_be_cheap_under_its_own_names(stack: str) -> None:
    loaded = load(stack, a_staging_config(names.label(stack)))
    assert loaded.tier == "staging"
    assert not loaded.protect
    assert loaded.on_rds


PRODUCTIONS = {
    "database.identifier": "lightwave-qa",
    "kubernetes.cluster": "lightwave-qa",
    "media.bucket": "lightwave-media-qa",
    "media.domain": "cdn-qa.lightwave-media.site",
    "edge.hostnames.payload": "cms-qa.lightwave-media.site",
}
"""Every name that production's own file, or a default, gives; and the example for another stack."""


def test_each_of_productions_names_is_refused_elsewhere() -> None:
    config = {**full_config("prod"), "lightwave:tier": "staging"}
    found = refused("qa", config)
    assert found.pop("media.zoneSingletons") == "false: production's stack owns the zone's rules"
    assert found == {key: f'a name with "qa" in it, such as {example}' for key, example in PRODUCTIONS.items()}


@pytest.mark.parametrize("stack", ["qa", "platform", "prod-eu", "cdn", "cms", "media", "lightwave", "site"])
@pytest.mark.parametrize("key", PRODUCTIONS)
def test_no_stack_name_opens_productions_names(stack: str, key: str) -> None:
    prod: Any = {name.partition(":")[2]: value for name, value in full_config("prod").items()}
    prod["database"].setdefault("identifier", names.IDENTIFIER)
    value = prod
    for step in key.split("."):
        value = value[step]
    config = a_staging_config(stack)
    put(config, key, value)
    assert list(refused(stack, config)) == [key]


@pytest.mark.parametrize("name", ["lightwave-production", "lightwave-aqa", "qa2-lightwave", "lightwave"])
def test_part_of_a_word_is_not_the_stacks_name(name: str) -> None:
    config = a_staging_config()
    put(config, "kubernetes.cluster", name)
    assert list(refused("qa", config)) == ["kubernetes.cluster"]


def test_a_context_is_not_a_way_into_another_stacks_cluster() -> None:
    config = a_staging_config()
    put(config, "kubernetes.context", "arn:aws:eks:eu-central-1:123456789012:cluster/lightwave-prod")
    assert list(refused("qa", config)) == ["kubernetes.context"]
    put(config, "kubernetes.context", "arn:aws:eks:eu-central-1:123456789012:cluster/lightwave-qa")
    assert load("qa", config)


def test_the_plain_names_are_prods() -> None:
    loaded = load("prod", full_config("prod"))
    assert loaded.on_rds
    assert loaded.edge
    named = {loaded.on_rds.rds.identifier, loaded.on_rds.kubernetes.cluster, loaded.on_rds.media.bucket}
    named |= {loaded.on_rds.media.domain, *loaded.edge.hostnames.values()}
    assert named == set(names.PLAIN_NAMES)


def test_a_local_stacks_bucket_is_its_own_and_leaves_the_zone_alone() -> None:
    found = problems("dev", {"media": MEDIA})
    assert found["lightwave:media.bucket"][0] == (
        '"lightwave-media" may belong to another stack; expected: a name with "dev" in it, such as lightwave-media-dev'
    )
    assert "such as cdn-dev.a.site" in found["lightwave:media.domain"][0]
    assert "is on; expected: false: production's stack owns" in found["lightwave:media.zoneSingletons"][0]


def test_a_copy_of_devs_file_works_under_any_name() -> None:
    assert load("alice", full_config("dev")).is_local


@pytest.mark.parametrize(("stack", "label"), [("qa", "qa"), ("QA_2", "qa-2"), ("a.b", "a-b"), ("-x-", "x")])
def test_a_stacks_name_in_a_dns_label(stack: str, label: str) -> None:
    assert names.label(stack) == label
    assert re.fullmatch(r"[a-z0-9-]+", label)
