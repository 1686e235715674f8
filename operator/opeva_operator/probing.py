"""Whether a host has our volume, and what it gives to jobs."""

import orjson

from opeva_operator.engine import Engine, EngineError, EngineInfo, EngineUnreachable
from opeva_specs.admission import Capacity
from opeva_specs.hostsfile import LOCAL, HostEntry
from opeva_specs.model import cpu_to_nano, memory_to_bytes
from opeva_specs.settings import Settings

SENTINEL = "state/instance.json"


def unusable(engine: Engine, root: str, instance: str) -> str | None:
    """Why no job may run there; None when a container there sees this very volume. Raises EngineUnreachable."""
    try:
        data = engine.read_file(root, SENTINEL)
    except EngineUnreachable:
        raise
    except EngineError as error:
        return f"cannot look at {root} there: {error}"
    if data is None:
        return f"there is no {SENTINEL} in {root} there: mount the shared volume, or mend its path"
    try:
        found = str(orjson.loads(data)["id"])
    except (ValueError, KeyError, TypeError):
        return f"{root}/{SENTINEL} there is not what this operator wrote"
    return None if found == instance else f"{root} there is the volume of another operator (id {found})"


def capacity_of(entry: HostEntry, info: EngineInfo, settings: Settings) -> Capacity:
    """What the jobs of a host may take together: what its engine tells, and no more than was granted."""
    given, is_local = entry.capacity, entry.name == LOCAL
    cpu = _least(info.cpus * 10**9, cpu_to_nano(given.cpu) if given.cpu else None)
    memory = _least(info.memory, memory_to_bytes(given.memory) if given.memory else None)
    gpu = info.gpus if given.gpu is None else given.gpu  # not every engine can tell
    jobs = given.jobs or max(4, info.cpus)
    if not is_local:
        return Capacity(jobs=jobs, cpu=cpu, memory=memory, gpu=gpu)
    return Capacity(
        jobs=min(given.jobs or settings.max_concurrent_jobs, settings.max_concurrent_jobs),
        cpu=_least(cpu, round(settings.cpus * 10**9) if settings.cpus else None),
        memory=_least(memory, settings.memory),
        gpu=gpu if settings.gpus is None else settings.gpus,
    )


def _least(there: int, granted: int | None) -> int:
    return there if granted is None else min(there, granted)
