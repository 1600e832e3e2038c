"""The R2 bucket for media, its CDN domain and the S3 credentials that Payload uploads with.

Import this module only where the stack declares media: `pulumi_cloudflare` costs about 2.6 s to import.

There is no backup of media: R2 keeps no versions and nothing here copies the objects elsewhere. An object that is
deleted or overwritten is gone. The bucket itself is protected, and no rule expires an object.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pulumi
import pulumi_cloudflare as cloudflare

from settings import MediaSettings

ITEM_WRITE = "Workers R2 Storage Bucket Item Write"
"""Cloudflare's permission group for reading, writing and listing the objects of a bucket, and nothing else."""

MULTIPART_ABORT_SECONDS = 7 * 24 * 3600
"""R2's own default for uploads that were never completed. A lifecycle replaces the default, so it is repeated."""

EDGE_TTL_SECONDS = 30 * 24 * 3600
"""How long Cloudflare's edge keeps an object. Replacing a file under its old name needs a purge of its URL."""

BROWSER_TTL_SECONDS = 4 * 3600
"""How long a browser keeps an object: no purge reaches it. Cloudflare's own default."""

CORS_PREFLIGHT_SECONDS = 2 * 3600
"""How long a browser may keep a preflight's answer; browsers cap it there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaArgs:
    """What `Media` needs."""

    media: MediaSettings
    protect: bool
    """Whether the bucket is protected from deletion."""


class Media(pulumi.ComponentResource):
    """The bucket, reachable from the public through its CDN domain alone.

    The CDN's DNS record belongs to the custom domain: none is declared. The ids of the bucket's satellites are
    placeholders of the provider and are never read.
    """

    endpoint: pulumi.Output[str]
    """S3 endpoint of the account, in the bucket's jurisdiction; the region is `auto`."""
    bucket: pulumi.Output[str]
    base_url: pulumi.Output[str]
    """What media URLs begin with, without a trailing slash."""
    access_key_id: pulumi.Output[str]
    """Secret."""
    secret_access_key: pulumi.Output[str]
    """Secret."""

    def __init__(self, name: str, args: MediaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("lightwave:media:Media", name, {}, opts)
        self._name = name
        self._media = media = args.media

        bucket = cloudflare.R2Bucket(
            f"{name}-bucket",
            account_id=media.account_id,
            name=media.bucket,
            jurisdiction=media.jurisdiction,
            location=media.location,
            storage_class="Standard",
            # The location is a hint that counts at creation alone: a change of it must never replace the bucket.
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, ignore_changes=["location"]),
        )
        domain = cloudflare.R2CustomDomain(
            f"{name}-domain",
            account_id=media.account_id,
            bucket_name=bucket.name,
            jurisdiction=media.jurisdiction,
            zone_id=media.zone_id,
            domain=media.domain,
            enabled=True,
            # The zone's own setting does not apply to a bucket's domain.
            min_tls=media.min_tls,
            opts=self._options(),
        )
        # Left out, the address would be whatever somebody last clicked: declared, r2.dev stays off.
        cloudflare.R2ManagedDomain(
            f"{name}-managed-domain",
            account_id=media.account_id,
            bucket_name=bucket.name,
            jurisdiction=media.jurisdiction,
            enabled=False,
            opts=self._options(),
        )
        self._browser_access(bucket)
        self._lifecycle(bucket)
        if media.zone_singletons:
            self._edge_cache()

        variant = "" if media.jurisdiction == "default" else f".{media.jurisdiction}"
        self.endpoint = pulumi.Output.from_input(f"https://{media.account_id}{variant}.r2.cloudflarestorage.com")
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

    def _options(self, *after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _browser_access(self, bucket: cloudflare.R2Bucket) -> None:
        """Pages of the listed origins may fetch media. Nothing may PUT: uploads go through Payload's server."""
        if not self._media.cors_origins:
            return
        cloudflare.R2BucketCors(
            f"{self._name}-cors",
            account_id=self._media.account_id,
            bucket_name=bucket.name,
            jurisdiction=self._media.jurisdiction,
            rules=[
                cloudflare.R2BucketCorsRuleArgs(
                    id="site-reads",
                    allowed=cloudflare.R2BucketCorsRuleAllowedArgs(
                        methods=["GET", "HEAD"], origins=list(self._media.cors_origins)
                    ),
                    max_age_seconds=CORS_PREFLIGHT_SECONDS,
                )
            ],
            opts=self._options(),
        )

    def _lifecycle(self, bucket: cloudflare.R2Bucket) -> None:
        """Clears away unfinished uploads. Nothing may expire media: R2 has no versions to come back from."""
        cloudflare.R2BucketLifecycle(
            f"{self._name}-lifecycle",
            account_id=self._media.account_id,
            bucket_name=bucket.name,
            jurisdiction=self._media.jurisdiction,
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
            opts=self._options(),
        )

    def _edge_cache(self) -> None:
        """The zone's cache rules and tiered cache. A zone has one of each: exactly one stack may own them."""
        cloudflare.Ruleset(
            f"{self._name}-cache-rules",
            zone_id=self._media.zone_id,
            name="Media cache",
            description="Long edge cache for media",
            kind="zone",
            phase="http_request_cache_settings",
            rules=[
                cloudflare.RulesetRuleArgs(
                    ref="media",
                    description=f"Keep {self._media.domain} at the edge",
                    enabled=True,
                    expression=f'(http.host eq "{self._media.domain}")',
                    action="set_cache_settings",
                    action_parameters=cloudflare.RulesetRuleActionParametersArgs(
                        cache=True,
                        edge_ttl=cloudflare.RulesetRuleActionParametersEdgeTtlArgs(
                            mode="override_origin",
                            default=EDGE_TTL_SECONDS,
                            status_code_ttls=[
                                # A file that is missing or failed for a moment must not stay so for the edge's TTL.
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
            opts=self._options(),
        )
        tiers = cloudflare.ArgoTieredCaching(
            f"{self._name}-tiered-caching", zone_id=self._media.zone_id, value="on", opts=self._options()
        )
        # The smart topology can only be chosen where tiered caching is on.
        cloudflare.TieredCache(
            f"{self._name}-tiered-cache", zone_id=self._media.zone_id, value="on", opts=self._options(tiers)
        )

    def _credentials(self, bucket: cloudflare.R2Bucket) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Access key id and secret access key: those given, or a token's that reaches this bucket's objects alone."""
        media = self._media
        if media.access_key_id is not None and media.secret_access_key is not None:
            return (
                pulumi.Output.secret(media.access_key_id.get_secret_value()),
                pulumi.Output.secret(media.secret_access_key.get_secret_value()),
            )
        groups = cloudflare.get_account_api_token_permission_groups_list_output(
            account_id=media.account_id, name=quote(ITEM_WRITE), opts=pulumi.InvokeOutputOptions(parent=self)
        )
        token = cloudflare.AccountToken(
            f"{self._name}-token",
            account_id=media.account_id,
            name=f"{media.bucket} objects",
            # One policy with one group: Cloudflare gives longer lists back in another order, which reads as a change.
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
            opts=self._options(),
        )
        # As Cloudflare's documentation on R2 API tokens derives them.
        access_key_id: pulumi.Output[str] = pulumi.Output.secret(token.id)
        token_value: pulumi.Output[str] = pulumi.Output.secret(token.value)
        return access_key_id, token_value.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())

    def _token_resources(self, bucket: str) -> str:
        """What the token reaches, in the JSON that the provider wants: the objects of the bucket."""
        scope = f"{self._media.account_id}_{self._media.jurisdiction}_{bucket}"
        return json.dumps({f"com.cloudflare.edge.r2.bucket.{scope}": "*"})


def _group_id(groups: Sequence[tuple[str, str]]) -> str:
    """The id of `ITEM_WRITE` among (name, id). The filter of the lookup is Cloudflare's, so the name is checked again.

    Raises LookupError unless there is exactly one.
    """
    found = [id_ for group, id_ in groups if group == ITEM_WRITE]
    if len(found) != 1:
        raise LookupError(f"{len(found)} permission groups are named {ITEM_WRITE!r}; expected one")
    return found[0]
