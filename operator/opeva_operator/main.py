"""The program `opeva-operator`: settings in, an operator that runs until it is told to end."""

import argparse
import logging
import signal
import sys
from types import FrameType

from opeva_operator.engine import Engine
from opeva_operator.local import Operator
from opeva_operator.lock import heartbeat_age
from opeva_specs.hostsfile import HostEntry, HostsFileError
from opeva_specs.settings import Settings, SettingsError, load_settings
from opeva_specs.volume import SharedVolume

logger = logging.getLogger(__name__)


class OneLine(logging.Formatter):
    """Writes control characters of a message as escapes: words of users, jobs and engines forge no lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, without its traceback if it has one."""
        line = super().formatMessage(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _check(volume: SharedVolume) -> int:
    """For health checks of containers: 0 when the operator was heard of within 30 seconds."""
    age = heartbeat_age(volume)
    if age.total_seconds() < 30:
        return 0
    print("the operator has not been heard of for 30 seconds", file=sys.stderr)
    return 1


def main() -> None:
    """Run the operator until SIGTERM or SIGINT; `--check` asks whether one is running."""
    parser = argparse.ArgumentParser(prog="opeva-operator", description="Makes the job specs of a volume true.")
    parser.add_argument("--check", action="store_true", help="exit 0 if an operator is alive on the volume")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"opeva-operator: {error}")
    if arguments.check:
        sys.exit(_check(SharedVolume(settings.shared_data)))
    log = logging.StreamHandler()
    log.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    sys.exit(run(settings))


def run(settings: Settings) -> int:
    """Start the operator, and end it when told to."""
    from opeva_operator.docker_engine import DockerEngine

    def make_engine(instance: str, at: HostEntry) -> Engine:
        timeout = settings.engine_timeout_seconds
        return DockerEngine(instance, docker_host=settings.docker_host, timeout_seconds=timeout, at=at)

    try:
        operator = Operator(settings, make_engine)
    except HostsFileError as error:
        print(f"opeva-operator: {error}", file=sys.stderr)
        return 1

    def end(number: int, frame: FrameType | None) -> None:
        logger.info("ending; jobs go on")
        operator.stop_soon()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        if operator.start():
            logger.info("watching %s", settings.shared_data)
            operator.wait()
            operator.stop()
    except OSError as error:
        print(f"opeva-operator: cannot use {settings.shared_data}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
