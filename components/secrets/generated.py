"""Every password and application secret of the platform: generated, or given by a local stack's state.

**Rotation.** Each secret has a counter in stack config (`rotations`). Raising it regenerates that secret and its salt,
and no other. Pulumi then updates, in this order: the role on the server, PgBouncer's auth file, the clients' Secret.
Open connections stay open, but until a client's pods restart they cannot open new ones.

**Protection.** A protected resource cannot be replaced, and rotation replaces the secrets, so they are not protected.
The component is: `pulumi destroy` is refused as a whole.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random
from pydantic import SecretStr

from components.secrets.scram import scram_verifier
from settings import LocalState

PASSWORD_LENGTH = 40
"""Letters and digits: 238 bits. No special characters, because passwords appear in URLs, SQL literals and ini files."""

SALT_BYTES = 16
"""PostgreSQL's own salt length (SCRAM_DEFAULT_SALT_LEN)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedSecretsArgs:
    """Arguments of `GeneratedSecrets`."""

    admin: str
    """The master role."""
    login_roles: Sequence[str]
    application_secrets: Sequence[str]
    """Names of env variables, such as PAYLOAD_SECRET."""
    rotations: Mapping[str, int]
    """Rotation counters by role or env variable; one that is missing counts as 0."""
    protect: bool
    """Whether the secrets as a whole are protected from deletion."""
    given: LocalState | None = None
    """The existing secrets of a local stack; with it, nothing is generated."""

    def __post_init__(self) -> None:
        names = [self.admin, *self.login_roles, *self.application_secrets]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise pulumi.InputPropertyError("login_roles", f"two secrets have the same name: {', '.join(repeated)}")


class GeneratedSecrets(pulumi.ComponentResource):
    """Passwords, their SCRAM verifiers, application secrets. Every value is secret."""

    passwords: dict[str, pulumi.Output[str]]
    """By role, for the admin and every login role."""
    verifiers: dict[str, pulumi.Output[str]]
    """By login role: the `SCRAM-SHA-256$…` verifier of its password, for the server and PgBouncer's auth file."""
    application: dict[str, pulumi.Output[str]]
    """By env variable."""

    def __init__(self, name: str, args: GeneratedSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=args.protect or None))
        super().__init__("lightwave:secrets:GeneratedSecrets", name, {}, opts)
        self._name = name
        self._rotations = args.rotations
        roles = [args.admin, *args.login_roles]
        if given := args.given:
            self.passwords = _taken(given.passwords, roles)
            self.verifiers = _taken(given.scram_verifiers, args.login_roles)
            self.application = _taken(given.secrets, args.application_secrets)
        else:
            self.passwords = {role: self._password(role) for role in roles}
            self.verifiers = {role: self._verifier(role) for role in args.login_roles}
            self.application = {secret: self._password(secret) for secret in args.application_secrets}
        self.register_outputs(
            {"passwords": self.passwords, "verifiers": self.verifiers, "application": self.application}
        )

    def _child(self) -> pulumi.ResourceOptions:
        # Explicit, because a child inherits the component's protection.
        return pulumi.ResourceOptions(parent=self, protect=False)

    def _keepers(self, secret: str) -> dict[str, str]:
        return {"rotation": str(self._rotations.get(secret, 0))}

    def _password(self, secret: str) -> pulumi.Output[str]:
        generated = random.RandomPassword(
            f"{self._name}-{_slug(secret)}",
            length=PASSWORD_LENGTH,
            special=False,
            keepers=self._keepers(secret),
            opts=self._child(),
        )
        return generated.result

    def _verifier(self, role: str) -> pulumi.Output[str]:
        salt = random.RandomBytes(
            f"{self._name}-{_slug(role)}-salt",
            length=SALT_BYTES,
            # The password's own keepers: a salt is for one password, so the two are replaced together.
            keepers=self._keepers(role),
            opts=self._child(),
        )
        # Secret, because its inputs are.
        return pulumi.Output.all(self.passwords[role], salt.base64).apply(
            lambda parts: scram_verifier(parts[0], base64.b64decode(parts[1]))
        )


def _taken(secrets: Mapping[str, SecretStr], names: Sequence[str]) -> dict[str, pulumi.Output[str]]:
    return {name: pulumi.Output.secret(secrets[name].get_secret_value()) for name in names}


def _slug(secret: str) -> str:
    return secret.lower().replace("_", "-")
