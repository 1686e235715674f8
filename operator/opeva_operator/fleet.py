"""All hosts, as the settings and the hosts file name them."""

from collections.abc import Callable

from opeva_operator.capture import Capture
from opeva_operator.engine import Engine
from opeva_operator.hosts import Host, Hosts, Surroundings
from opeva_operator.pulls import Pulls
from opeva_specs.hostsfile import LOCAL, HostEntry, HostsFile

MakeEngine = Callable[[str, HostEntry], Engine]
WORKERS, WORKERS_ELSEWHERE = 8, 4


def workers_of(file: HostsFile) -> dict[str, int]:
    """How many jobs of each host are looked at a time: its engine keeps no more workers waiting than these."""
    return {LOCAL: WORKERS, **{entry.name: WORKERS_ELSEWHERE for entry in file.others}}


def make_hosts(
    file: HostsFile,
    parts: Surroundings,
    make_engine: MakeEngine,
    local_root: Callable[[], str],
    boot_id: Callable[[], str | None],
) -> Hosts:
    """The operator's own host first, then those of the file; none of them is asked anything yet."""
    return Hosts([_make(entry, parts, make_engine, local_root, boot_id) for entry in (file.local, *file.others)])


def _make(
    entry: HostEntry,
    parts: Surroundings,
    make_engine: MakeEngine,
    local_root: Callable[[], str],
    boot_id: Callable[[], str | None],
) -> Host:
    settings, engine = parts.settings, make_engine(parts.instance, entry)
    is_own = entry.name == LOCAL and (settings.docker_host or "unix://").startswith("unix://")
    host = Host(
        entry,
        engine,
        parts,
        root=local_root if entry.name == LOCAL else lambda: entry.shared_data or "",
        pulls=Pulls(engine, lambda job: landed(job), parts.clock, settings.pull_timeout_seconds),
        capture=Capture(engine, parts.volume),
        boot_id=boot_id if is_own or entry.is_on_this_machine else lambda: None,
    )

    def landed(job: str) -> None:
        host.forget_images()
        parts.wake(job)

    return host
