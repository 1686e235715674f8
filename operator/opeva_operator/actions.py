"""What the planner asked for, done: each action on one job, with the engine and the job's files."""

import contextlib
import errno
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from opeva_operator import outcome
from opeva_operator.acceptance import Acceptance, Accepted, adopted, restored
from opeva_operator.engine import (
    Container,
    ContainerGone,
    EngineError,
    EngineUnreachable,
    ImageMissing,
    NameTaken,
    NetworkNotFound,
)
from opeva_operator.folders import Folders
from opeva_operator.gate import Gatekeeper, pulling
from opeva_operator.hosts import Host, Hosts
from opeva_operator.launch import container_name, container_spec
from opeva_operator.pulls import Landed
from opeva_operator.pulse import Pulses
from opeva_operator.refusals import Refusals, start_failure
from opeva_operator.situation import (
    Accept,
    Action,
    Adopt,
    Amend,
    Conclude,
    Delete,
    DropWish,
    Expire,
    Launch,
    Remove,
    Restore,
    Signal,
    Start,
)
from opeva_operator.specwatch import SpecWatch
from opeva_specs.settings import Settings
from opeva_specs.status import Attempt, Generation, JobStatus, Phase, Reason, changed
from opeva_specs.store import ControlStore, EventLog, StatusStore
from opeva_specs.surroundings import host_unusable
from opeva_specs.terms import Blocker
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Absent, Present

logger = logging.getLogger(__name__)

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # these say nothing about the job


class LookAgain(Exception):
    """What was planned does not fit what is there any more: look at the job anew."""

    def __init__(self, after: float) -> None:
        super().__init__(f"look again in {after} s")
        self.after = after


class Actions:
    """Does one action at a time; returns the job's status after it (None: the job is no more)."""

    def __init__(
        self,
        *,
        settings: Settings,
        instance: str,
        hosts: Hosts,
        volume: SharedVolume,
        specs: SpecWatch,
        acceptance: Acceptance,
        gatekeeper: Gatekeeper,
        pulses: Pulses,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._instance, self._hosts = settings, instance, hosts
        self._volume, self._specs = volume, specs
        self._acceptance, self._gatekeeper = acceptance, gatekeeper
        self._pulses, self._clock = pulses, clock
        self._folders = Folders(volume)
        self._statuses, self._controls, self._events = StatusStore(volume), ControlStore(volume), EventLog(volume)
        self._refusals = Refusals(settings.start_timeout_seconds, clock)
        self.forget: Callable[[str], None] = lambda name: None

    @staticmethod
    def touches_engine(action: Action) -> bool:
        """Whether the container must be looked at anew after it."""
        return isinstance(action, Launch | Start | Signal | Remove | Adopt)

    def do(self, name: str, action: Action, status: JobStatus | None) -> JobStatus | None:
        """Do it. Raises EngineError, OSError, LookAgain; may be done again after any of them."""
        match action:
            case Accept(wanted):
                return self._accept(name, wanted, status)
            case Adopt(container):
                return adopted(name, container, status, self._clock())
            case DropWish(wish, told):
                if told:
                    self._events.append(name, self._clock(), "WishDropped", told)
                self._controls.take(name, wish)
                return status
            case Amend() | Launch() | Start() | Restore():
                return self._go_on(name, action, known(status))
            case Conclude() | Signal() | Remove() | Delete() | Expire():
                return self._bring_to_end(name, action, known(status))

    def _go_on(self, name: str, action: Amend | Launch | Start | Restore, status: JobStatus) -> JobStatus:
        match action:
            case Amend(wanted):
                job = self._specs.job(name, wanted)
                if job is None:
                    raise LookAgain(0.5)
                return self._acceptance.amend(job, wanted, status, self._clock())
            case Launch(attempt):
                return self._launch(name, status, attempt)
            case Start(container):
                return self._start(name, status, container.id)
            case Restore(generation, wanted):
                return self._restore(name, status, generation, wanted)

    def _bring_to_end(
        self, name: str, action: Conclude | Signal | Remove | Delete | Expire, status: JobStatus
    ) -> JobStatus | None:
        match action:
            case Conclude(container):
                return self._conclude(name, status, container)
            case Signal(container, signal):
                with contextlib.suppress(ContainerGone):
                    self._hosts.of_container(container).engine.signal(container.id, signal)
                return outcome.delivered(status, self._clock())
            case Remove(container):
                self._hosts.of_container(container).engine.remove(container.id)
                return status
            case Delete():
                return self._delete(name, status)
            case Expire():
                return self._expire(name, status)

    def follow(self, name: str, container: Container) -> None:
        """Write along what the container says."""
        self._hosts.of_container(container).capture.follow(name, container.id)

    def _host(self, status: JobStatus) -> Host:
        host = self._hosts.of(status)
        if host is None:
            raise EngineUnreachable(f"there is no host {status.status.host!r} any more")
        return host

    # -- beginning -----------------------------------------------------------------------------------------------

    def _accept(self, name: str, wanted: Present, status: JobStatus | None) -> JobStatus:
        job = self._specs.job(name, wanted)
        if job is None:
            raise LookAgain(0.5)
        label = container_name(self._instance, name)
        return self._acceptance.accept(job, wanted, status, self._clock(), label)

    def _launch(self, name: str, status: JobStatus, attempt: Attempt) -> JobStatus:
        accepted = self._acceptance.read(name)
        if accepted is None or accepted.digest != status.metadata.digest:
            words = "the record of its acceptance was lost: raise rerun in its spec to run it"
            return self._failed(status, Reason.START_FAILED, words)
        try:
            previous = self._folders.prepare(accepted, status, attempt)
        except OSError as error:
            return self._refused(name, status, error, "its folder cannot be made ready")
        host = self._host(status)
        wanted = container_spec(accepted, attempt, self._settings, self._instance, host.root(), previous)
        host.expect(name)
        try:
            container_id = host.engine.create(wanted)
        except NameTaken:
            return status  # ours from before a crash, or a stranger's: the next look tells
        except ImageMissing:
            return self._without_image(name, status, accepted)
        except NetworkNotFound:
            return self._without_network(status, accepted)
        except EngineError as error:
            what = "its container cannot be created"
            return self._without_volume(status, error) or self._refused(name, status, error, what)
        return self._start(name, status, container_id)

    def _start(self, name: str, status: JobStatus, container_id: str) -> JobStatus:
        engine = self._host(status).engine
        try:
            engine.start(container_id)
        except ContainerGone:
            return status
        except NetworkNotFound:
            engine.remove(container_id)
            accepted = self._acceptance.read(name)
            return self._without_network(status, accepted) if accepted else status
        except EngineError as error:
            if (without := self._without_volume(status, error)) is not None:
                engine.remove(container_id)
                return without
            return self._refused(name, status, error, "its container cannot be started")
        self._refusals.forget(name)
        return status

    def _refused(self, name: str, status: JobStatus, error: EngineError | OSError, what: str) -> JobStatus:
        """Failed, if this is final; else the error is raised, to be tried again."""
        if isinstance(error, EngineUnreachable):
            self._host(status).engine.ping()  # an engine that does not answer at all has refused nothing
        if isinstance(error, EngineUnreachable | OSError):
            opened_at = status.attempt.created_at if status.attempt else None
            if not self._refusals.is_final(name, opened_at):
                raise error
        self._refusals.forget(name)
        words = f"{what}: {error}"
        if isinstance(error, OSError) and error.errno in _STORAGE:
            blocker = Blocker(kind=Reason.DISK_PRESSURE, message=words, unblocks="the volume can be written")
            return outcome.blocked(outcome.unopened(status), (blocker,))
        with contextlib.suppress(OSError):  # the status tells it as well
            self._host(status).capture.note(name, words)
        return self._failed(status, start_failure(str(error)), words)

    def _failed(self, status: JobStatus, reason: Reason, words: str) -> JobStatus:
        return outcome.over(status, Phase.FAILED, reason, words, self._clock())

    def _without_image(self, name: str, status: JobStatus, accepted: Accepted) -> JobStatus:
        if accepted.job.spec.image_pull_policy == "Never":
            words = f"the image {accepted.image!r} is not on this host, and imagePullPolicy is Never"
            return self._failed(status, Reason.IMAGE_PULL_FAILED, words)
        pulls = self._host(status).pulls
        came, patience = pulls.result(accepted.image), timedelta(seconds=self._settings.start_timeout_seconds)
        if isinstance(came, Landed) and self._clock() - came.at < patience:  # it would be fetched for ever
            words = f"the image {accepted.image!r} was fetched a moment ago, and yet the engine does not have it"
            return self._failed(status, Reason.IMAGE_PULL_FAILED, words)
        flight = pulls.want(accepted.image, name)
        return outcome.blocked(outcome.unopened(status), (pulling(accepted.image, flight),))

    def _without_volume(self, status: JobStatus, error: EngineError) -> JobStatus | None:
        """Back in the queue if a mount was refused because the host has our volume no more: no job need fail there."""
        if isinstance(error, EngineUnreachable) or start_failure(str(error)) is not Reason.BAD_MOUNT:
            return None
        host = self._host(status)
        why = host.look_again("a mount was refused there")
        return outcome.blocked(outcome.unopened(status), (host_unusable(host.name, why),)) if why else None

    def _without_network(self, status: JobStatus, accepted: Accepted) -> JobStatus:
        self._gatekeeper.forget_network(self._host(status).name, accepted.network)
        return outcome.unopened(status)

    # -- ending --------------------------------------------------------------------------------------------------

    def _conclude(self, name: str, status: JobStatus, container: Container) -> JobStatus:
        evidence = self._complete_log(name, container)
        status = self.with_digest(status, container)
        ended = outcome.judged(status, container, self._end(status, container, evidence))
        progress = self._pulses.final(name, ended)
        self._pulses.forget(name)
        return outcome.reached(ended, progress)

    def _end(self, status: JobStatus, container: Container, evidence: tuple[str, ...]) -> outcome.End:
        is_odd = container.exit_code in (137, 143, 255) and not container.oom_killed
        host = self._hosts.of_container(container)
        before, now = status.attempt.boot_id if status.attempt else None, host.boot_id()
        rebooted = is_odd and before is not None and now is not None and before != now
        return outcome.End(
            now=self._clock(),
            evidence=evidence,
            server_retries=self._settings.server_retries,
            host_rebooted=rebooted,
            engine_restarted=is_odd and not rebooted and host.engine.restarted_since_start(container),
            clock_offset=host.facts.clock_offset,
        )

    def _complete_log(self, name: str, container: Container) -> tuple[str, ...]:
        """The last lines of the log, once all of it is durable; what the engine refuses to show holds up no outcome."""
        capture = self._hosts.of_container(container).capture
        try:
            return capture.complete(name, container.id)
        except EngineUnreachable:
            raise
        except EngineError as error:
            capture.note(name, f"[the rest of this log could not be read: {error}]")
            return ()

    def with_digest(self, status: JobStatus, container: Container) -> JobStatus:
        """The status with what the image's name meant when the container was made."""
        attempt = status.attempt
        if attempt is None or attempt.image_digest is not None:
            return status
        digest = self._image_digest(container) or container.image_id
        attempts = tuple(changed(a, image_digest=digest) if a is attempt else a for a in status.status.attempts)
        updated: JobStatus = changed(status, status=changed(status.status, attempts=attempts))
        return updated

    def _image_digest(self, container: Container) -> str | None:
        """None also when the engine refuses to tell: that holds up no outcome."""
        try:
            return self._hosts.of_container(container).engine.image_digest(container.image_id or container.image)
        except EngineUnreachable:
            raise
        except EngineError as error:
            logger.warning("image of job %s: %s", container.job, error)
            return None

    def _restore(self, name: str, status: JobStatus, shown: Generation, wanted: Present) -> JobStatus:
        job = self._specs.job(name, wanted)
        if job is None:
            raise LookAgain(0.5)
        runs = [a for a in status.status.attempts if a.generation == shown.generation]
        if runs:
            self._folders.show(name, runs[-1])
        logger.info("job %s: generation %d is shown again", name, shown.generation)
        return restored(status, shown, job, wanted, self._clock())

    def _delete(self, name: str, status: JobStatus) -> JobStatus | None:
        """Files first, the record last: whatever fails on the way is tried again."""
        self._volume.remove_tree(self._folders.trash(name, self._clock()))
        source = status.metadata.source
        is_ours = source.startswith("api/") and self._specs.holds_only(source, name)
        if is_ours:
            self._volume.remove(f"specs/{source}", durable=True)
            self._specs.looked(source)
            self._volume.remove(f"rejected/{source}.json")
        wanted = self._specs.wanted(name, source, self._clock())
        if isinstance(wanted, Present) or not (is_ours or isinstance(wanted, Absent)):
            return outcome.tombstone(status)
        self._forget(name)
        return None

    def _expire(self, name: str, status: JobStatus) -> JobStatus | None:
        """The files go; the record stays as long as a file wants the job, so that it does not run again."""
        self._volume.remove_tree(self._folders.trash(name, self._clock()))
        wanted = self._specs.wanted(name, status.metadata.source, self._clock())
        if not isinstance(wanted, Absent):
            return outcome.tombstone(status)
        self._forget(name)
        return None

    def _forget(self, name: str) -> None:
        self._volume.remove_tree(f"state/jobs/{name}")
        self._statuses.remove(name)
        self.forget(name)


def known(status: JobStatus | None) -> JobStatus:
    """The status, where the planner asks only for what needs one."""
    if status is None:
        raise ValueError("this action needs a status")
    return status
