"""What the planner asked for, done: each action on one job, with the engine and the job's files."""

import logging
from collections.abc import Callable
from datetime import datetime

from opeva_operator import outcome
from opeva_operator.acceptance import Acceptance, Accepted, adopted, restored
from opeva_operator.capture import Capture
from opeva_operator.engine import (
    Container,
    ContainerGone,
    Engine,
    EngineError,
    EngineUnreachable,
    ImageMissing,
    NameTaken,
    NetworkNotFound,
)
from opeva_operator.folders import Folders
from opeva_operator.gate import Gatekeeper, pulling
from opeva_operator.launch import container_name, container_spec
from opeva_operator.pulls import Pulls
from opeva_operator.situation import (
    Accept,
    Action,
    Adopt,
    Amend,
    Conclude,
    Delete,
    DropWish,
    Launch,
    Remove,
    Restore,
    Signal,
    Start,
)
from opeva_operator.specwatch import SpecWatch
from opeva_specs.settings import Settings
from opeva_specs.status import Attempt, Generation, JobStatus, Reason, changed
from opeva_specs.store import ControlStore, EventLog, StatusStore
from opeva_specs.volume import SharedVolume
from opeva_specs.wanted import Absent, Present

logger = logging.getLogger(__name__)

MOST_REFUSALS = 6  # with 5 seconds between them


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
        host_root: Callable[[], str],
        engine: Engine,
        volume: SharedVolume,
        specs: SpecWatch,
        acceptance: Acceptance,
        gatekeeper: Gatekeeper,
        pulls: Pulls,
        capture: Capture,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._instance, self._host_root = settings, instance, host_root
        self._engine, self._volume, self._specs = engine, volume, specs
        self._acceptance, self._gatekeeper, self._pulls = acceptance, gatekeeper, pulls
        self._capture, self._clock = capture, clock
        self._folders = Folders(volume)
        self._statuses, self._controls, self._events = StatusStore(volume), ControlStore(volume), EventLog(volume)
        self._refusals: dict[str, int] = {}
        self.expect: Callable[[str], None] = lambda name: None
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
            case Conclude() | Signal() | Remove() | Delete():
                return self._bring_to_end(name, action, known(status))

    def _go_on(self, name: str, action: Amend | Launch | Start | Restore, status: JobStatus) -> JobStatus:
        match action:
            case Amend(wanted):
                job = self._specs.job(name, wanted)
                if job is None:
                    raise LookAgain(0.5)
                return self._acceptance.amend(job, wanted, status)
            case Launch(attempt):
                return self._launch(name, status, attempt)
            case Start(container):
                return self._start(name, status, container.id)
            case Restore(generation):
                return self._restore(name, status, generation)

    def _bring_to_end(
        self, name: str, action: Conclude | Signal | Remove | Delete, status: JobStatus
    ) -> JobStatus | None:
        match action:
            case Conclude(container):
                return self._conclude(name, status, container)
            case Signal(container, signal):
                self._signal(container, signal)
                return status
            case Remove(container):
                self._engine.remove(container.id)
                return status
            case Delete():
                return self._delete(name, status)

    def follow(self, name: str, container: Container) -> None:
        """Write along what the container says."""
        self._capture.follow(name, container.id)

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
            return outcome.failed(status, Reason.START_FAILED, words, self._clock())
        previous = self._folders.prepare(accepted, status, attempt)
        wanted = container_spec(accepted, attempt, self._settings, self._instance, self._host_root(), previous)
        self.expect(name)
        try:
            container_id = self._engine.create(wanted)
        except NameTaken:
            return status  # ours from before a crash, or a stranger's: the next look tells
        except ImageMissing:
            return self._without_image(name, status, accepted)
        except NetworkNotFound:
            return self._without_network(status, accepted)
        except EngineError as error:
            self._raise_unless_final(name, error)
            words = f"its container cannot be created: {error}"
            return outcome.failed(status, Reason.START_FAILED, words, self._clock())
        return self._start(name, status, container_id)

    def _start(self, name: str, status: JobStatus, container_id: str) -> JobStatus:
        try:
            self._engine.start(container_id)
        except ContainerGone:
            return status
        except NetworkNotFound:
            self._engine.remove(container_id)
            accepted = self._acceptance.read(name)
            return self._without_network(status, accepted) if accepted else status
        except EngineError as error:
            self._raise_unless_final(name, error)
            words = f"its container cannot be started: {error}"
            self._capture.note(name, words)
            return outcome.failed(status, Reason.START_FAILED, words, self._clock())
        self._refusals.pop(name, None)
        return status

    def _raise_unless_final(self, name: str, error: EngineError) -> None:
        """Raise what may pass by itself; an engine that answers, yet fails at this job again and again, is final."""
        if not isinstance(error, EngineUnreachable):
            return
        refusals = self._refusals.pop(name, 0) + 1
        if refusals < MOST_REFUSALS:
            self._refusals[name] = refusals
            raise error
        self._engine.ping()

    def _without_image(self, name: str, status: JobStatus, accepted: Accepted) -> JobStatus:
        if accepted.job.spec.image_pull_policy == "Never":
            words = f"the image {accepted.image!r} is not on this host, and imagePullPolicy is Never"
            return outcome.failed(status, Reason.IMAGE_PULL_FAILED, words, self._clock())
        gate = pulling(accepted.image, self._pulls.want(accepted.image, name))
        back = outcome.unopened(status)
        waiting: JobStatus = changed(back, status=changed(back.status, reason=gate.reason, message=gate.message))
        return waiting

    def _without_network(self, status: JobStatus, accepted: Accepted) -> JobStatus:
        self._gatekeeper.forget_network(accepted.network)
        return outcome.unopened(status)

    # -- ending --------------------------------------------------------------------------------------------------

    def _signal(self, container: Container, signal: str) -> None:
        try:
            self._engine.signal(container.id, signal)
        except ContainerGone:
            return

    def _conclude(self, name: str, status: JobStatus, container: Container) -> JobStatus:
        evidence = self._complete_log(name, container)
        is_odd = container.exit_code in (137, 143, 255) and not container.oom_killed
        restarted = is_odd and self._engine.restarted_since_start(container)
        status = self.with_digest(status, container)
        return outcome.judged(status, container, engine_restarted=restarted, evidence=evidence, now=self._clock())

    def _complete_log(self, name: str, container: Container) -> str:
        """The last line of the log, once all of it is durable; what the engine refuses to show holds up no outcome."""
        try:
            return self._capture.complete(name, container.id)
        except EngineUnreachable:
            raise
        except EngineError as error:
            self._capture.note(name, f"[the rest of this log could not be read: {error}]")
            return ""

    def with_digest(self, status: JobStatus, container: Container) -> JobStatus:
        """The status with what the image's name meant when the container was made."""
        attempt = status.attempt
        if attempt is None or attempt.image_digest is not None:
            return status
        digest = self._engine.image_digest(container.image_id or container.image) or container.image_id
        attempts = tuple(changed(a, image_digest=digest) if a is attempt else a for a in status.status.attempts)
        updated: JobStatus = changed(status, status=changed(status.status, attempts=attempts))
        return updated

    def _restore(self, name: str, status: JobStatus, shown: Generation) -> JobStatus:
        runs = [a for a in status.status.attempts if a.generation == shown.generation]
        if runs:
            self._folders.show(name, runs[-1])
        logger.info("job %s: generation %d is shown again", name, shown.generation)
        return restored(status, shown, self._clock())

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
            hidden: JobStatus = changed(status, status=changed(status.status, hidden=True))
            return hidden  # a file that is not ours has it: without this record it would run again
        self._volume.remove_tree(f"state/jobs/{name}")
        self._statuses.remove(name)
        self.forget(name)
        return None


def known(status: JobStatus | None) -> JobStatus:
    """The status, where the planner asks only for what needs one."""
    if status is None:
        raise ValueError("this action needs a status")
    return status
