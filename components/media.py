"""The R2 bucket for media, its CDN domain, and the S3 credentials with which Payload uploads.

Import this module only where the stack has media: Cloudflare's SDK is a large one.

Media has no backup: R2 keeps no versions, and nothing here copies the objects elsewhere. A deleted or overwritten
object is gone. The bucket itself is protected, and no rule expires an object.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pulumi

from components.cloudflare_sdk import cloudflare
from settings import MediaSettings

ITEM_WRITE = "Workers R2 Storage Bucket Item Write"
"""Cloudflare's permission group for reading, writing and listing the objects of a bucket, and no more."""

MULTIPART_ABORT_SECONDS = 7 * 24 * 3600
"""R2's own default for uploads that were never completed, repeated because a lifecycle replaces it."""

EDGE_TTL_SECONDS = 30 * 24 * 3600
"""How long Cloudflare's edge keeps an object. After replacing a file under its old name, purge its URL."""

BROWSER_TTL_SECONDS = 4 * 3600
"""How long a browser keeps an object, out of reach of a purge. Cloudflare's own default."""

CORS_PREFLIGHT_SECONDS = 2 * 3600
"""How long a browser may keep the response to a preflight request; browsers cap it at two hours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaArgs:
    """Arguments of `Media`."""

    settings: MediaSettings
    protect: bool
    """Whether the bucket is protected from deletion."""


class Media(pulumi.ComponentResource):
    """The bucket, public only through its CDN domain.

    R2 creates the domain's DNS record itself, so none is declared. The provider gives the bucket's domain, CORS and
    lifecycle resources placeholder ids, which nothing here reads.
    """

    endpoint: pulumi.Output[str]
    """S3 endpoint of the account in the bucket's jurisdiction; the region is `auto`."""
    bucket: pulumi.Output[str]
    base_url: pulumi.Output[str]
    """Base of media URLs, without a trailing slash."""
    access_key_id: pulumi.Output[str]
    """Secret."""
    secret_access_key: pulumi.Output[str]
    """Secret."""

    def __init__(self, name: str, args: MediaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:media:Media", name, {}, opts)
        self._name = name
        self._settings = settings = args.settings

        bucket = cloudflare.R2Bucket(
            f"{name}-bucket",
            account_id=settings.account_id,
            name=settings.bucket,
            jurisdiction=settings.jurisdiction,
            location=settings.location,
            storage_class="Standard",
            # The location is a hint for the creation only: a change must never replace the bucket.
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, ignore_changes=["location"]),
        )
        domain = cloudflare.R2CustomDomain(
            f"{name}-domain",
            account_id=settings.account_id,
            bucket_name=bucket.name,
            jurisdiction=settings.jurisdiction,
            zone_id=settings.zone_id,
            domain=settings.domain,
            enabled=True,
            # The zone's own setting does not apply to the domain of a bucket.
            min_tls=settings.min_tls,
            opts=self._child(),
        )
        # Declared so that r2.dev stays off whatever is set in the dashboard.
        cloudflare.R2ManagedDomain(
            f"{name}-managed-domain",
            account_id=settings.account_id,
            bucket_name=bucket.name,
            jurisdiction=settings.jurisdiction,
            enabled=False,
            opts=self._child(),
        )
        self._browser_access(bucket)
        self._lifecycle(bucket)
        if settings.zone_singletons:
            self._edge_cache()

        variant = "" if settings.jurisdiction == "default" else f".{settings.jurisdiction}"
        self.endpoint = pulumi.Output.from_input(f"https://{settings.account_id}{variant}.r2.cloudflarestorage.com")
        self.bucket = bucket.name
        self.base_url = pulumi.Output.concat("https://", domain.domain)
        self.access_key_id, self.secret_access_key = self._credentials(bucket)
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "bucket": self.bucket,
                "base_url": self.base_url,
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
            }
        )

    def _child(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _browser_access(self, bucket: cloudflare.R2Bucket) -> None:
        """Lets pages of the listed origins fetch media, but not PUT: uploads go through Payload's server."""
        if not self._settings.cors_origins:
            return
        cloudflare.R2BucketCors(
            f"{self._name}-cors",
            account_id=self._settings.account_id,
            bucket_name=bucket.name,
            jurisdiction=self._settings.jurisdiction,
            rules=[
                cloudflare.R2BucketCorsRuleArgs(
                    id="site-reads",
                    allowed=cloudflare.R2BucketCorsRuleAllowedArgs(
                        methods=["GET", "HEAD"], origins=list(self._settings.cors_origins)
                    ),
                    max_age_seconds=CORS_PREFLIGHT_SECONDS,
                )
            ],
            opts=self._child(),
        )

    def _lifecycle(self, bucket: cloudflare.R2Bucket) -> None:
        """Removes unfinished uploads. No rule may expire media: R2 has no versions to restore."""
        cloudflare.R2BucketLifecycle(
            f"{self._name}-lifecycle",
            account_id=self._settings.account_id,
            bucket_name=bucket.name,
            jurisdiction=self._settings.jurisdiction,
            rules=[
                cloudflare.R2BucketLifecycleRuleArgs(
                    id="abort-unfinished-uploads",
                    enabled=True,
                    conditions=cloudflare.R2BucketLifecycleRuleConditionsArgs(prefix=""),
                    abort_multipart_uploads_transition=cloudflare.R2BucketLifecycleRuleAbortMultipartUploadsTransitionArgs(
                        condition=cloudflare.R2BucketLifecycleRuleAbortMultipartUploadsTransitionConditionArgs(
                            type="Age", max_age=MULTIPART_ABORT_SECONDS
                        )
                    ),
                )
            ],
            opts=self._child(),
        )

    def _edge_cache(self) -> None:
        """The zone's cache rules and tiered cache. A zone has only one of each, so exactly one stack may own them."""
        cloudflare.Ruleset(
            f"{self._name}-cache-rules",
            zone_id=self._settings.zone_id,
            name="Media cache",
            description="Long edge cache for media",
            kind="zone",
            phase="http_request_cache_settings",
            rules=[
                cloudflare.RulesetRuleArgs(
                    ref="media",
                    description=f"Keep {self._settings.domain} at the edge",
                    enabled=True,
                    expression=f'(http.host eq "{self._settings.domain}")',
                    action="set_cache_settings",
                    action_parameters=cloudflare.RulesetRuleActionParametersArgs(
                        cache=True,
                        edge_ttl=cloudflare.RulesetRuleActionParametersEdgeTtlArgs(
                            mode="override_origin",
                            default=EDGE_TTL_SECONDS,
                            status_code_ttls=[
                                # A file that was missing for a moment must not stay so for the edge's TTL.
                                cloudflare.RulesetRuleActionParametersEdgeTtlStatusCodeTtlArgs(
                                    status_code_range=cloudflare.RulesetRuleActionParametersEdgeTtlStatusCodeTtlStatusCodeRangeArgs(
                                        from_=400, to=599
                                    ),
                                    value=-1,
                                )
                            ],
                        ),
                        browser_ttl=cloudflare.RulesetRuleActionParametersBrowserTtlArgs(
                            mode="override_origin", default=BROWSER_TTL_SECONDS
                        ),
                    ),
                )
            ],
            opts=self._child(),
        )
        tiers = cloudflare.ArgoTieredCaching(
            f"{self._name}-tiered-caching", zone_id=self._settings.zone_id, value="on", opts=self._child()
        )
        # The smart topology can be selected only where tiered caching is on.
        cloudflare.TieredCache(
            f"{self._name}-tiered-cache", zone_id=self._settings.zone_id, value="on", opts=self._child(tiers)
        )

    def _credentials(self, bucket: cloudflare.R2Bucket) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Access key id and secret access key: given ones, or those of a token for this bucket's objects only."""
        settings = self._settings
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            return (
                pulumi.Output.secret(settings.access_key_id.get_secret_value()),
                pulumi.Output.secret(settings.secret_access_key.get_secret_value()),
            )
        groups = cloudflare.get_account_api_token_permission_groups_list_output(
            account_id=settings.account_id, name=quote(ITEM_WRITE), opts=pulumi.InvokeOutputOptions(parent=self)
        )
        token = cloudflare.AccountToken(
            f"{self._name}-token",
            account_id=settings.account_id,
            name=f"{settings.bucket} objects",
            # One policy with one group: Cloudflare returns longer lists in another order, which looks like a change.
            policies=[
                cloudflare.AccountTokenPolicyArgs(
                    effect="allow",
                    permission_groups=[
                        cloudflare.AccountTokenPolicyPermissionGroupArgs(
                            id=groups.results.apply(lambda found: _group_id([(g.name, g.id) for g in found]))
                        )
                    ],
                    resources=bucket.name.apply(self._token_resources),
                )
            ],
            opts=self._child(),
        )
        # Derived as in Cloudflare's documentation of R2 API tokens.
        access_key_id: pulumi.Output[str] = pulumi.Output.secret(token.id)
        token_value: pulumi.Output[str] = pulumi.Output.secret(token.value)
        return access_key_id, token_value.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())

    def _token_resources(self, bucket: str) -> str:
        """The token's scope, the objects of the bucket, as the JSON that the provider expects."""
        scope = f"{self._settings.account_id}_{self._settings.jurisdiction}_{bucket}"
        return json.dumps({f"com.cloudflare.edge.r2.bucket.{scope}": "*"})


def _group_id(groups: Sequence[tuple[str, str]]) -> str:
    """The id of the group named `ITEM_WRITE`, from (name, id) pairs: Cloudflare's own filter also matches longer names.

    Raises LookupError unless there is exactly one.
    """
    found = [id_ for group, id_ in groups if group == ITEM_WRITE]
    if len(found) != 1:
        raise LookupError(f"{len(found)} permission groups are named {ITEM_WRITE!r}; expected one")
    return found[0]
