"""Every password and application secret of the platform: generated in prod, given in dev, the same to who uses them.

**Rotation.** Each secret has a counter in stack config (`rotations`); raising it generates that secret anew, with its
salt, and touches no other. The engine then changes what is made of it in this order: the role on the server, the
pooler's auth file, the clients' Secret. Connections that are open stay open; between the first step and the restart of
a client's pods, its old pods cannot log in anew.

**Protection.** A protected resource cannot be replaced, so the secrets themselves are not protected: rotation would be
refused. The component is, and with it the stack: `destroy` is refused as a whole.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.secrets.scram import scram_verifier
from settings import LocalState

PASSWORD_LENGTH = 40
"""Letters and digits: 238 bits. No special character: the password stands in URLs, SQL literals and ini files."""

SALT_BYTES = 16
"""PostgreSQL's own salt length (SCRAM_DEFAULT_SALT_LEN)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedSecretsArgs:
    """What `GeneratedSecrets` needs."""

    admin: str
    """The master role."""
    login_roles: Sequence[str]
    application_secrets: Sequence[str]
    """By env variable, such as PAYLOAD_SECRET."""
    rotations: Mapping[str, int]
    """By role or env variable: its counter; 0 where it has none."""
    protect: bool
    """Whether the secrets as a whole are protected from deletion."""
    given: LocalState | None = None
    """Where the values exist already (the dev stack): they are taken and nothing is generated."""

    def __post_init__(self) -> None:
        names = [self.admin, *self.login_roles, *self.application_secrets]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise pulumi.InputPropertyError("login_roles", f"two secrets of one name: {', '.join(repeated)}")


class GeneratedSecrets(pulumi.ComponentResource):
    """Passwords, their SCRAM verifiers, application secrets. Every value is secret."""

    passwords: dict[str, pulumi.Output[str]]
    """By role: the admin and every login role."""
    verifiers: dict[str, pulumi.Output[str]]
    """By login role: `SCRAM-SHA-256$…` of its password, for the server and for PgBouncer's auth file alike."""
    application: dict[str, pulumi.Output[str]]
    """By env variable."""

    def __init__(self, name: str, args: GeneratedSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        own = pulumi.ResourceOptions(protect=args.protect or None)
        super().__init__("lightwave:secrets:GeneratedSecrets", name, {}, pulumi.ResourceOptions.merge(opts, own))
        self._name = name
        self._rotations = args.rotations
        if args.given is None:
            self.passwords = {role: self._password(role) for role in (args.admin, *args.login_roles)}
            self.verifiers = {role: self._verifier(role) for role in args.login_roles}
            self.application = {secret: self._password(secret) for secret in args.application_secrets}
        else:
            given = args.given
            self.passwords = {
                role: pulumi.Output.secret(given.passwords[role].get_secret_value())
                for role in (args.admin, *args.login_roles)
            }
            self.verifiers = {
                role: pulumi.Output.secret(given.scram_verifiers[role].get_secret_value()) for role in args.login_roles
            }
            self.application = {
                secret: pulumi.Output.secret(given.secrets[secret].get_secret_value())
                for secret in args.application_secrets
            }
        self.register_outputs(
            {"passwords": self.passwords, "verifiers": self.verifiers, "application": self.application}
        )

    def _options(self) -> pulumi.ResourceOptions:
        # Said, not left out: a child would inherit the component's protection.
        return pulumi.ResourceOptions(parent=self, protect=False)

    def _keepers(self, secret: str) -> dict[str, str]:
        return {"rotation": str(self._rotations.get(secret, 0))}

    def _password(self, secret: str) -> pulumi.Output[str]:
        generated = random.RandomPassword(
            f"{self._name}-{_slug(secret)}",
            length=PASSWORD_LENGTH,
            special=False,
            keepers=self._keepers(secret),
            opts=self._options(),
        )
        return generated.result

    def _verifier(self, role: str) -> pulumi.Output[str]:
        salt = random.RandomBytes(
            f"{self._name}-{_slug(role)}-salt",
            length=SALT_BYTES,
            # The password's own keepers: a salt serves one password, so the two are replaced together.
            keepers=self._keepers(role),
            opts=self._options(),
        )
        # Secret, as what it is computed from.
        return pulumi.Output.all(self.passwords[role], salt.base64).apply(
            lambda parts: scram_verifier(parts[0], base64.b64decode(parts[1]))
        )


def _slug(secret: str) -> str:
    return secret.lower().replace("_", "-")
