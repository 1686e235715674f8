"""Jobs as the tests write them, and what a status file tells of them."""

from dataclasses import dataclass
from typing import Any

import yaml

ENDED = ("Finished", "Failed", "Stopped", "Canceled")
SLEEP = "sleep 300"


def job(name: str, script: str = "true", *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A job that notes each of its starts in the volume's ledger, then runs a shell script."""
    noted = f"echo started >> /data/ledger/{name}; {script}"
    return {
        "apiVersion": "opeva.io/v1",
        "kind": "SimulationJob",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {
            "command": ["sh", "-c"],
            "args": [noted],
            "terminationGracePeriodSeconds": 1,
            **spec,
        },
    }


def text_of(*jobs: dict[str, Any]) -> str:
    """The spec file that holds these jobs."""
    return yaml.safe_dump_all(jobs, sort_keys=False)


@dataclass(frozen=True, slots=True)
class Told:
    """What a status file tells."""

    raw: dict[str, Any]

    @property
    def phase(self) -> str:
        return str(self.raw["status"]["phase"])

    @property
    def reason(self) -> str:
        return str(self.raw["status"]["reason"])

    @property
    def message(self) -> str:
        return str(self.raw["status"]["message"])

    @property
    def outcome(self) -> tuple[str, str]:
        """Phase and reason."""
        return self.phase, self.reason

    @property
    def generation(self) -> int:
        return int(self.raw["metadata"]["generation"])

    @property
    def source(self) -> str:
        return str(self.raw["metadata"]["source"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.raw["metadata"]["labels"])

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt of every generation, oldest first."""
        return list(self.raw["status"]["attempts"])

    @property
    def attempt(self) -> dict[str, Any]:
        """The newest attempt."""
        return self.attempts[-1]

    @property
    def hidden(self) -> bool:
        return bool(self.raw["status"]["hidden"])

    def condition(self, kind: str) -> str | None:
        """True, False, Unknown; None when it is not told."""
        found = [c["status"] for c in self.raw["status"]["conditions"] if c["type"] == kind]
        return found[0] if found else None
