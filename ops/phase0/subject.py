"""A stack and the services on it, as Phase 0's commands reach them."""

import json
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from pydantic import SecretStr

from ops.deploy.admin_login import admin_login
from ops.dev import env
from ops.verify.model import Connection, Endpoint, connect
from settings import Product, Settings
from settings.problems import OperatorError

_ANSWER_SECONDS = 15


class Subject:
    """What is measured: a stack and the services that run on it."""

    def __init__(self, settings: Settings, folder: Path, payload_url: str) -> None:
        """`folder` is the workspace with the services' checkouts; `payload_url` is Payload's API, ending in /api."""
        self.settings = settings
        self.workspace = folder
        self.payload_url = payload_url.rstrip("/")

    def product(self, framework: str) -> Product:
        """The stack's product with this framework. Raises OperatorError where there is none."""
        for product in self.settings.products.values():
            if product.framework == framework:
                return product
        raise OperatorError(
            f"stack {self.settings.stack} has no product with framework {framework}",
            f"add framework: {framework} to its entry in Pulumi.yaml",
        )

    def checkout(self, framework: str) -> Path:
        """The checkout of its service."""
        return self.workspace / (self.product(framework).service or "")

    @cached_property
    def env(self) -> dict[str, dict[str, str]]:
        """The variables of every service, by product."""
        return env.values(self.settings)

    def values(self, framework: str) -> dict[str, str]:
        """The variables of the service with this framework."""
        return self.env[self.product(framework).name]

    @cached_property
    def admin(self) -> tuple[Endpoint, SecretStr]:
        """PostgreSQL itself, and the admin's password."""
        return admin_login(self.settings)

    def login(self, framework: str) -> Connection:
        """A session of the product's login role on PostgreSQL itself. Raises OperatorError where it gets none."""
        product = self.product(framework)
        url = self.values(framework)["DATABASE_URI" if framework == "payload" else "DATABASE_URL"]
        password = SecretStr(unquote(urlsplit(url).password or ""))
        try:
            return connect(self.admin[0], product.login_role, password)
        except psycopg.Error as error:
            raise OperatorError(
                f"{product.login_role} cannot log in: {str(error).strip().splitlines()[0]}",
                f"make verify STACK={self.settings.stack}",
            ) from error

    def answer(self, url: str, method: str = "GET") -> tuple[int, Any]:
        """Status and JSON body, None for another body. Raises OperatorError where nothing answers."""
        asked = urllib.request.Request(url, method=method)  # noqa: S310 (an URL of the operator's or of the stack's)
        try:
            with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as response:  # noqa: S310
                text = response.read()
                is_json = "json" in response.headers.get("content-type", "")
                return response.status, json.loads(text) if text and is_json else None
        except urllib.error.HTTPError as error:
            return error.code, None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise OperatorError(f"{url} does not answer: {reason}", "start the service, or name another URL") from error
