"""The gate: may a queued job start now? Asks the surroundings, in order, and says the first thing that is missing."""

import threading
from datetime import datetime

from opeva_operator.acceptance import Acceptance, Accepted, ConfigMissing
from opeva_operator.engine import Engine, EngineError
from opeva_operator.pulls import Flight, Landed, Missed, Pulls
from opeva_operator.roster import Roster
from opeva_operator.situation import Gate
from opeva_specs.settings import Settings
from opeva_specs.status import JobStatus, Reason
from opeva_specs.volume import SharedVolume

LOCAL = ("", "local")


class Gatekeeper:
    """Asks config, host, disk, network, image and the queue."""

    def __init__(
        self,
        acceptance: Acceptance,
        engine: Engine,
        pulls: Pulls,
        roster: Roster,
        volume: SharedVolume,
        settings: Settings,
    ) -> None:
        self._acceptance, self._engine, self._pulls = acceptance, engine, pulls
        self._roster, self._volume, self._settings = roster, volume, settings
        self._networks: set[str] = set()
        self._making = threading.Lock()

    def ask(self, name: str, status: JobStatus) -> tuple[Gate, JobStatus]:
        """The gate, and the status with a config that could be copied just now. An open gate has taken a place."""
        accepted = self._acceptance.read(name)
        if accepted is None:
            words = "the record of its acceptance was lost: raise rerun in its spec to run it"
            return Gate(is_open=False, reason=Reason.START_FAILED, message=words, fails=True), status
        if accepted.has_config and status.status.config_digest is None:
            copied = self._acceptance.copy_config(name, status)
            if isinstance(copied, ConfigMissing):
                return self._blocked(name, Reason.CONFIG_MISSING, copied.message), status
            status = copied
        closed = self._host(accepted) or self._disk() or self._network(accepted) or self._image(name, accepted, status)
        if closed is not None:
            self._roster.block(name, closed.reason != Reason.DISK_PRESSURE)
            return closed, status
        self._roster.block(name, False)
        is_admitted, words = self._roster.admit(name)
        return Gate(is_open=is_admitted, reason=Reason.AT_CAPACITY, message=words), status

    def forget_network(self, network: str) -> None:
        """The engine says that it has no such network: ask again next time."""
        self._networks.discard(network)

    def _blocked(self, name: str, reason: Reason, message: str) -> Gate:
        self._roster.block(name, True)
        return Gate(is_open=False, reason=reason, message=message)

    def _host(self, accepted: Accepted) -> Gate | None:
        host = accepted.job.spec.target_host or ""
        if host in LOCAL:
            return None
        return Gate(is_open=False, reason=Reason.HOST_UNKNOWN, message=f"there is no host {host!r} here, only 'local'")

    def _disk(self) -> Gate | None:
        try:
            free = self._volume.free_bytes()
        except OSError as error:
            words = f"cannot tell how much room the shared volume has: {error.strerror}"
            return Gate(is_open=False, reason=Reason.DISK_PRESSURE, message=words)
        if free >= self._settings.min_free_bytes:
            return None
        # Without the figure, which changes from look to look: a status is told anew only when it says something new.
        words = f"the shared volume has less than {self._settings.min_free_bytes // 2**20} MiB free"
        return Gate(is_open=False, reason=Reason.DISK_PRESSURE, message=words)

    def _network(self, accepted: Accepted) -> Gate | None:
        network = accepted.network
        if network in self._networks or network in ("none", "bridge"):
            return None
        try:
            if network == self._settings.docker_network:
                with self._making:  # Docker would make two of one name
                    self._engine.ensure_network(network)
            elif not self._engine.has_network(network):
                words = f"there is no Docker network {network!r}: create it, or name another one"
                return Gate(is_open=False, reason=Reason.NETWORK_MISSING, message=words)
        except EngineError as error:
            return Gate(
                is_open=False, reason=Reason.ENGINE_UNREACHABLE, message=f"cannot look for its network: {error}"
            )
        self._networks.add(network)
        return None

    def _image(self, name: str, accepted: Accepted, status: JobStatus) -> Gate | None:
        policy = accepted.job.spec.image_pull_policy
        result = self._pulls.result(accepted.image)
        is_answer = _is_answer(result, name, status.status.queued_at)
        if policy == "Always" and not is_answer:
            result = self._pulls.want(accepted.image, name)
        if isinstance(result, Missed) and is_answer and policy != "Never":
            return Gate(is_open=False, reason=Reason.IMAGE_PULL_FAILED, message=result.message, fails=True)
        if isinstance(result, Flight) and (policy == "Always" or name in result.names):
            self._pulls.want(accepted.image, name)
            return pulling(accepted.image, result)
        return None


def pulling(image: str, flight: Flight) -> Gate:
    """The gate while an image is being fetched."""
    words = f"its image {image!r} is being fetched" + (f"; last try: {flight.last_try}" if flight.last_try else "")
    return Gate(is_open=False, reason=Reason.PULLING, message=words)


def _is_answer(result: Landed | Missed | Flight | None, name: str, since: datetime) -> bool:
    """Whether it tells that job of its own wait; what others missed earlier may be here by now."""
    if isinstance(result, Missed) and name not in result.names:
        return False
    return isinstance(result, Landed | Missed) and result.at >= since
