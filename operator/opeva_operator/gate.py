"""The gate: may a queued job start now? Asks the surroundings and the queue, and names all that is in the way."""

import threading
import time
from datetime import datetime

from opeva_operator.acceptance import Acceptance, Accepted, ConfigMissing
from opeva_operator.engine import EngineError
from opeva_operator.hosts import Host, Hosts
from opeva_operator.pulls import Flight, Landed, Missed
from opeva_operator.roster import Roster
from opeva_operator.situation import Gate
from opeva_specs import surroundings
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Reason
from opeva_specs.terms import Blocker
from opeva_specs.volume import SharedVolume

_EVERYBODYS = frozenset({Reason.DISK_PRESSURE, Reason.ENGINE_UNREACHABLE, Reason.HOST_UNUSABLE})  # at one host


MOST_REFUSALS = 3
REFUSALS_COUNT_FOR = 20.0  # seconds; then it is tried anew


class Gatekeeper:
    """Asks config, data set, host, disk, network, image and the queue."""

    def __init__(
        self,
        acceptance: Acceptance,
        hosts: Hosts,
        roster: Roster,
        volume: SharedVolume,
        settings: Settings,
    ) -> None:
        self._acceptance, self._hosts = acceptance, hosts
        self._roster, self._volume, self._settings = roster, volume, settings
        self._networks: set[tuple[str, str]] = set()
        self._refused: dict[tuple[str, str], list[float]] = {}  # when an engine had no such network after all
        self._making = {host.name: threading.Lock() for host in hosts}

    def ask(
        self, name: str, status: JobStatus, *, may_enter: bool = True, is_reachable: bool = True
    ) -> tuple[Gate, JobStatus]:
        """The gate, and the status with a config that could be copied just now. An open gate has taken a place.

        With `may_enter` False nothing is begun for the job: it waits for something else, and asks what else there is.
        """
        accepted = self._acceptance.read(name)
        if accepted is None:
            words = "the record of its acceptance was lost: raise rerun in its spec to run it"
            return Gate(is_open=False, fails=Reason.START_FAILED, message=words), status
        found, status = self._config(name, accepted, status)
        found += [b for b in (self._data_set(accepted), self._host(status), self._disk()) if b is not None]
        host = self._hosts.get(status.status.host)
        if host is not None and is_reachable:
            found += [b for b in (self._network(host, accepted),) if b is not None]
            image = self._image(host, name, accepted, status, may_want=may_enter and not found)
            if isinstance(image, Gate):
                return image, status
            found += [image] if image is not None else []
        if may_enter and not found:
            self._roster.block(name, False)
            if self._roster.admit(name):
                return Gate(is_open=True), status
        elif not _is_everybodys(found, is_reachable):
            self._roster.block(name, True)
        return Gate(is_open=False, blockers=(*found, *self._roster.hindrances(name))), status

    def forget_network(self, host: str, network: str) -> None:
        """The host's engine says that it has no such network: ask again next time."""
        self._networks.discard((host, network))
        now = time.monotonic()
        recent = [at for at in self._refused.get((host, network), ()) if now - at < REFUSALS_COUNT_FOR]
        self._refused[host, network] = [*recent, now][-MOST_REFUSALS:]

    def _is_refused(self, host: str, network: str) -> bool:
        """Whether the engine says yes when asked for the network, and no when it is to be used, again and again."""
        times = self._refused.get((host, network), [])
        return len(times) == MOST_REFUSALS and time.monotonic() - times[-1] < REFUSALS_COUNT_FOR

    def _config(self, name: str, accepted: Accepted, status: JobStatus) -> tuple[list[Blocker], JobStatus]:
        if not accepted.has_config or status.status.config_digest is not None:
            return [], status
        copied = self._acceptance.copy_config(name, status)
        if isinstance(copied, ConfigMissing):
            return [surroundings.config_missing(copied.message)], status
        return [], copied

    def _data_set(self, accepted: Accepted) -> Blocker | None:
        return surroundings.data_set_missing(self._volume, accepted.data_set) if accepted.data_set else None

    def _host(self, status: JobStatus) -> Blocker | None:
        name = status.status.host
        host = self._hosts.get(name)
        if host is None:
            return surroundings.host_unknown(name, self._hosts.names())
        unusable = host.facts.unusable
        if host.trouble is not None or unusable is None:
            return None  # whether it can be reached is looked at elsewhere
        return surroundings.host_unusable(name, unusable)

    def _disk(self) -> Blocker | None:
        return surroundings.disk_pressure(self._volume, self._settings.min_free_bytes)

    def _network(self, host: Host, accepted: Accepted) -> Blocker | None:
        network = accepted.network
        if (host.name, network) in self._networks or network in ("none", "bridge"):
            return None
        if self._is_refused(host.name, network):
            words = f"the engine lists the Docker network {network!r}, and does not let its container in"
            return Blocker(kind=Reason.NETWORK_MISSING, message=words, unblocks="the network is made anew, or another")
        try:
            if network == self._settings.docker_network:
                with self._making[host.name]:  # Docker would make two of one name
                    host.engine.ensure_network(network)
            elif not host.engine.has_network(network):
                words = f"there is no Docker network {network!r}: create it, or name another one"
                return Blocker(kind=Reason.NETWORK_MISSING, message=words, unblocks=f"docker network create {network}")
        except EngineError as error:
            words = f"cannot look for its network: {error}"
            return Blocker(kind=Reason.ENGINE_UNREACHABLE, message=words, unblocks="the engine answers")
        self._networks.add((host.name, network))
        return None

    def _image(
        self, host: Host, name: str, accepted: Accepted, status: JobStatus, *, may_want: bool
    ) -> Blocker | Gate | None:
        policy = accepted.job.spec.image_pull_policy
        result = host.pulls.result(accepted.image)
        is_answer = _is_answer(result, name, status.status.retry_at or status.status.queued_at)
        if policy == "Always" and not is_answer and may_want:
            result = host.pulls.want(accepted.image, name)
        if isinstance(result, Missed) and is_answer and policy != "Never":
            return Gate(is_open=False, fails=Reason.IMAGE_PULL_FAILED, message=result.message)
        if isinstance(result, Flight) and (policy == "Always" or name in result.names):
            if may_want:
                host.pulls.want(accepted.image, name)
            return pulling(accepted.image, result)
        return None


def _is_everybodys(found: list[Blocker], is_reachable: bool) -> bool:
    """Whether it waits only for what all wait for: then it stays where it stands, for the order to be the same after.

    Whoever waits for something of its own in an outage (suspended, in back-off) is beside the line already.
    """
    kinds = {b.kind for b in found}
    if not is_reachable:
        kinds.add(Reason.ENGINE_UNREACHABLE)
    return bool(kinds) and kinds <= _EVERYBODYS


def pulling(image: str, flight: Flight) -> Blocker:
    """What stands in the way while an image is being fetched."""
    words = f"its image {image!r} is being fetched" + (f"; last try: {flight.last_try}" if flight.last_try else "")
    return Blocker(kind=Reason.PULLING, message=words, unblocks="the image is here", details={"image": image})


def _is_answer(result: Landed | Missed | Flight | None, name: str, since: datetime) -> bool:
    """Whether it tells that job of its own wait; what others missed earlier may be here by now."""
    if isinstance(result, Missed) and name not in result.names:
        return False
    return isinstance(result, Landed | Missed) and result.at >= since
