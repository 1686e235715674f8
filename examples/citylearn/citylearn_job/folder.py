"""The job's folder on the shared volume: where each file lies, and how it is replaced whole."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job below the shared volume."""

    base: Path
    job_id: str

    @property
    def root(self) -> Path:
        return self.base / "jobs" / self.job_id

    @property
    def log(self) -> Path:
        return self.root / "logs" / f"{self.job_id}.log"

    @property
    def progress(self) -> Path:
        return self.root / "progress" / "progress.json"

    @property
    def result(self) -> Path:
        return self.root / "results" / "result.json"

    @property
    def info(self) -> Path:
        return self.root / "job_info.json"

    def prepare(self) -> None:
        """Makes the folders, and removes what an earlier run told so that it is not taken for this one's."""
        for path in (self.log, self.progress, self.result):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.progress.unlink(missing_ok=True)
        self.result.unlink(missing_ok=True)


def replace_json(path: Path, value: object, *, durable: bool = False) -> None:
    """Replaces the file so that a reader sees the earlier content or the new one, never half of it."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
