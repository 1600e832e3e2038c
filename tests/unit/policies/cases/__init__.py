"""The cases of every rule, by rule. Where a rule is about the stack, a case changes its first resource."""

from tests.unit.policies.cases import aws, cluster, database, media, roles, workloads
from tests.unit.policies.cases.case import Case

CASES: dict[str, list[Case]] = {
    **database.CASES,
    **roles.CASES,
    **media.CASES,
    **workloads.CASES,
    **cluster.CASES,
    **aws.CASES,
}
