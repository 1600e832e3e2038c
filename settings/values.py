"""The types of single values: what each must look like, and the words for it."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, SecretStr, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from settings.names import KNOWN_AT_DEPLOY

_facts_required: ContextVar[bool] = ContextVar("facts_required", default=True)


@contextmanager
def offline() -> Iterator[None]:
    """Within it, account facts may be missing: they read as `KNOWN_AT_DEPLOY`. For the offline plan and a release."""
    token = _facts_required.set(False)
    try:
        yield
    finally:
        _facts_required.reset(token)


def facts_required() -> bool:
    """Whether a missing account fact is an error: everywhere but in the offline plan."""
    return _facts_required.get()


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a text, as a pattern and in words: the pattern alone does not help the person who has to fix it."""

    pattern: str
    expected: str
    placeholder: bool = True
    """Whether `KNOWN_AT_DEPLOY` may stand in its place in the offline plan."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.no_info_after_validator_function(self._check, handler(source))
        return core_schema.no_info_before_validator_function(_digits_as_text, checked)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "expected": self.expected}

    def _check(self, value: str) -> str:
        if value == KNOWN_AT_DEPLOY and self.placeholder:
            if facts_required():
                raise wrong("is a placeholder of the offline plan")
        elif not re.fullmatch(self.pattern, value, re.ASCII):
            raise wrong("is malformed")
        return value


def wrong(what: str) -> PydanticCustomError:
    """The error of a value; its text follows the value in the message."""
    return PydanticCustomError("form", "{what}", {"what": what})


def _digits_as_text(value: Any) -> Any:
    # `pulumi config set --path` stores 4 or 123456789012 as a number, whatever the field is.
    return str(value) if type(value) is int else value


def _cidr(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise wrong(f"is not a network: {error}") from error


OLDEST_PGBOUNCER = (1, 25, 2)
"""Older ones can be crashed by an unauthenticated SCRAM message."""
_OLDEST = ".".join(map(str, OLDEST_PGBOUNCER))


def pgbouncer_version(image: str) -> tuple[int, int, int]:
    """PgBouncer's version by its image's tag, such as v1.25.2-p0. Raises ValueError for a tag without one."""
    if image == KNOWN_AT_DEPLOY:
        return OLDEST_PGBOUNCER
    found = re.search(r":v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})[^:/@]*@", image)
    if found is None:
        raise ValueError(f"the tag of image {image} does not begin with a version")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def _recent_pgbouncer(image: str) -> str:
    try:
        version = pgbouncer_version(image)
    except ValueError as error:
        raise wrong("has no version at the beginning of its tag") from error
    if version < OLDEST_PGBOUNCER:
        raise wrong(f"is PgBouncer {'.'.join(map(str, version))}")
    return image


def _scram_verifier(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r'SCRAM-SHA-256\$[^"\n]+', value.get_secret_value()):
        raise wrong("is malformed")
    return value


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_DAY = f"({'|'.join(_DAYS)})"

SqlName = Annotated[
    str,
    _Form(r"[a-z][a-z0-9_]{0,47}", "a lower-case SQL name: a letter, then letters, digits or _, at most 48", False),
]
DnsLabel = Annotated[
    str, _Form(_LABEL, "a DNS label: lower-case letters, digits and inner hyphens, at most 63", placeholder=False)
]
ClusterFact = Annotated[str, _Form(_LABEL, "a DNS label: lower-case letters, digits and inner hyphens, at most 63")]
"""The name of something on the cluster that this program does not create."""
Domain = Annotated[
    str, _Form(rf"(?=.{{1,253}}$)({_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]", "a domain name such as example.com")
]
Origin = Annotated[
    str, _Form(rf"https?://({_LABEL}\.)*{_LABEL}(:\d{{1,5}})?", "an origin such as https://example.com, no path")
]
HttpsUrl = Annotated[str, _Form(r"https://\S+[^/\s]", "a URL such as https://example.com/path, no slash at its end")]
Arn = Annotated[str, _Form(r"arn:aws[a-z-]*:\S+", "an ARN such as arn:aws:iam::123456789012:role/deploy")]
AwsAccountId = Annotated[str, _Form(r"\d{12}", "the 12 digits of an AWS account")]
AwsRegion = Annotated[str, _Form(r"[a-z]{2}(-[a-z]+)+-\d", "an AWS region such as eu-central-1")]
VpcId = Annotated[str, _Form(r"vpc-[0-9a-f]{8,17}", "a VPC id such as vpc-0a1b2c3d4e5f67890")]
SubnetId = Annotated[str, _Form(r"subnet-[0-9a-f]{8,17}", "a subnet id such as subnet-0a1b2c3d")]
SecurityGroupId = Annotated[str, _Form(r"sg-[0-9a-f]{8,17}", "a security group id such as sg-0a1b2c3d")]
InstanceClass = Annotated[str, _Form(r"db\.[a-z0-9]+\.[a-z0-9]+", "an RDS instance class such as db.t3.medium")]
CloudflareId = Annotated[str, _Form(r"[0-9a-f]{32}", "32 hexadecimal digits, as Cloudflare's dashboard shows them")]
ImageDigest = Annotated[
    str,
    _Form(r"[a-z0-9./:_-]+:[\w.-]+@sha256:[0-9a-f]{64}", "an image by tag and digest: name:tag@sha256:<64 hex digits>"),
]
PgBouncerImage = Annotated[
    ImageDigest,
    AfterValidator(_recent_pgbouncer),
    WithJsonSchema(
        {"type": "string", "expected": f"an image by tag and digest, its tag a PgBouncer version of {_OLDEST} or newer"}
    ),
]
HostName = Annotated[str, _Form(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?", "a host name or an IP address")]
Admin = Annotated[
    str,
    _Form(
        rf"([^@\s]+@)?({_LABEL}\.)+{_LABEL}",
        "an e-mail address, or a domain such as example.com for every address in it",
    ),
]
Email = Annotated[str, _Form(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")]
LoginName = Annotated[str, _Form(r"\S+", "a login name, without spaces")]
LabelKey = Annotated[
    str,
    _Form(
        r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?",
        "the key of a Kubernetes label",
        placeholder=False,
    ),
]
LabelValue = Annotated[str, _Form(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", "the value of a Kubernetes label")]
Quantity = Annotated[str, _Form(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?", "a Kubernetes quantity such as 500m, 2 or 4Gi")]
DailyWindow = Annotated[str, _Form(f"{_TIME}-{_TIME}", "a daily window in UTC such as 02:00-03:00", placeholder=False)]
WeeklyWindow = Annotated[
    str, _Form(f"{_DAY}:{_TIME}-{_DAY}:{_TIME}", "a weekly window in UTC such as sun:03:30-sun:04:30", False)
]
ServiceKey = Annotated[
    str, _Form(rf"{_LABEL}(/{_LABEL})*", "a service's key such as lightwave-media-site/website", placeholder=False)
]
CommandWord = Annotated[str, _Form(r"[^\x00]+", "a word of a command line, not empty", placeholder=False)]
Context = Annotated[str, _Form(r"\S+", "the name of a kubeconfig context")]
PemFile = Annotated[str, _Form(r"[\w.-]+\.pem", "a file name that ends in .pem", placeholder=False)]
Cidr = Annotated[
    str,
    AfterValidator(_cidr),
    WithJsonSchema({"type": "string", "expected": "an IPv4 network in CIDR form such as 10.0.0.0/16"}),
]
Port = Annotated[int, Field(ge=1, le=65535)]
SecretText = Annotated[SecretStr, Field(min_length=1)]
ScramVerifier = Annotated[
    SecretStr,
    AfterValidator(_scram_verifier),
    WithJsonSchema(
        {"type": "string", "writeOnly": True, "expected": "a SCRAM-SHA-256 verifier of the role's password"}
    ),
]
Extension = Literal[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "lo",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
]


_SUFFIXES: dict[str, Fraction | int] = {"m": Fraction(1, 1000), "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SUFFIXES |= {f"{prefix}i": 1024**power for power, prefix in enumerate("KMGT", 1)}


def amount(quantity: str) -> Fraction:
    """The number that a Kubernetes quantity means, such as 1/2 for 500m. Raises ValueError for another text."""
    number = quantity.rstrip("mkKMGTi")
    return Fraction(number) * _SUFFIXES[quantity.removeprefix(number)]


def minutes_of_week(window: str) -> set[int]:
    """The minutes of the week that a window covers; a daily one covers them on every day."""
    begins, ends = (_minute(edge) for edge in window.split("-"))
    weekly = window.startswith(_DAYS)
    covered = range((ends - begins) % (10080 if weekly else 1440))
    return {(begins + at + 1440 * day) % 10080 for at in covered for day in range(1 if weekly else 7)}


def _minute(edge: str) -> int:
    *day, hour, minute = edge.split(":")
    return (_DAYS.index(day[0]) if day else 0) * 1440 + int(hour) * 60 + int(minute)
