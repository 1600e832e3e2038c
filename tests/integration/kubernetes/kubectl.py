"""kubectl against one API server, whatever the developer's own kubeconfig says."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What kubectl answered."""

    ok: bool
    output: str
    """Standard output of a call that succeeded, standard error of one that did not."""
    warnings: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubectl:
    """kubectl with the options that choose the server."""

    command: tuple[str, ...]
    """The command line before the arguments, with everything that leads to the API server."""
    kubeconfig: str = os.devnull

    def arguments(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [*self.command, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the developer's own cluster."""
        return {**os.environ, "KUBECONFIG": self.kubeconfig}

    def __call__(
        self, *arguments: str, document: Mapping[str, Any] | str | None = None, seconds: float = 120
    ) -> Answer:
        """Runs kubectl; `document` goes to its standard input."""
        text = document if isinstance(document, str) or document is None else json.dumps(document)
        done = subprocess.run(
            self.arguments(*arguments),
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=self.environment,
        )
        ok = done.returncode == 0
        return Answer(ok=ok, output=done.stdout if ok else done.stderr, warnings=done.stderr if ok else "")

    def do(self, *arguments: str, document: Mapping[str, Any] | str | None = None, seconds: float = 120) -> str:
        """Its output; a failure fails the test."""
        answer = self(*arguments, document=document, seconds=seconds)
        assert answer.ok, f"kubectl {' '.join(arguments)}: {answer.output}"
        return answer.output

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them, as the server holds it."""
        found: dict[str, Any] = json.loads(self.do("get", *arguments, "--output=json"))
        return found

    def apply(self, *documents: str) -> Answer:
        """Server-side apply with the server's strict validation: an unknown or repeated field is an error."""
        return self("apply", "--server-side", "--validate=strict", "--filename=-", document="\n---\n".join(documents))

    def create(self, document: Mapping[str, Any]) -> Answer:
        """Creates the object, with strict validation."""
        return self("create", "--validate=strict", "--filename=-", document=document)
