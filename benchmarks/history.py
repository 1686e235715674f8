"""A long history, quickly: one job that the operator ran itself, and as many copies of all its files as are wanted."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from benchmarks.stage import Stage

NAME = "finished-000000"
_FOLDERS = ("state/jobs/{}", "jobs/{}")
_SCRIPT = (
    "echo hello; cd /data/jobs/{0}; "
    'echo \'{{"step": 10, "progress_pct": 100}}\' >progress/progress.json; '
    'echo \'{{"kpis": {{"cost": 1.5}}}}\' >results/result.json; echo done >logs/{0}.log'
)


def template_spec() -> str:
    """The spec of the job that is copied; it writes what a simulator writes."""
    script = _SCRIPT.format(NAME).replace("\\", "\\\\").replace('"', '\\"')
    return f"""\
apiVersion: opeva.io/v1
kind: SimulationJob
metadata:
  name: {NAME}
  annotations: {{opeva.io/job-name: bench - finished}}
spec:
  command: [sh, -c]
  args: ["{script}"]
  config: {{experiment: {{name: bench, run_name: finished}}}}
  submittedBy: bench
"""


def multiply(stage: Stage, copies: int) -> list[str]:
    """Make the copies while no operator runs; the names of all, the first one's too."""
    status = stage.status(NAME)
    attempt = status.attempt if status else None
    if status is None or attempt is None or attempt.container_id is None or status.status.phase.word != "finished":
        raise RuntimeError(f"cannot make a history: the job to copy is {status.status.phase if status else 'missing'}")
    spec = (stage.root / status.metadata.source).name
    source = stage.root / "specs" / status.metadata.source
    names = [f"finished-{number:06}" for number in range(copies)]
    for name in names[1:]:
        data = source.read_bytes().replace(NAME.encode(), name.encode())
        replaced = {
            NAME: name,
            attempt.container_id: hashlib.sha256(name.encode()).hexdigest(),
            status.metadata.source_hash: hashlib.sha256(data).hexdigest(),
        }
        (source.parent / spec.replace(NAME, name)).write_bytes(data)
        _copy_files(stage.root, name, _replacing(replaced))
    return names


def _copy_files(root: Path, name: str, renamed: Callable[[bytes], bytes]) -> None:
    status = root / "status"
    (status / f"{name}.json").write_bytes(renamed((status / f"{NAME}.json").read_bytes()))
    for folder in _FOLDERS:
        source, target = root / folder.format(NAME), root / folder.format(name)
        target.mkdir()
        for path in sorted(source.rglob("*")):
            there = target / str(path.relative_to(source)).replace(NAME, name)
            if path.is_dir():
                there.mkdir()
            else:
                there.write_bytes(renamed(path.read_bytes()))


def _replacing(words: dict[str, str]) -> Callable[[bytes], bytes]:
    def replace(data: bytes) -> bytes:
        for word, by in words.items():
            data = data.replace(word.encode(), by.encode())
        return data

    return replace
