"""What the endpoints share, made once per application."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, HTTPException, Request, Response

from opeva_api.configfiles import ConfigFiles
from opeva_api.datasetfiles import DataSets
from opeva_api.feed import Feed
from opeva_api.heart import Heart
from opeva_api.index import Index
from opeva_api.jobfiles import JobFiles
from opeva_api.logfiles import LogFiles
from opeva_api.record import Record
from opeva_api.sanitise import dumps
from opeva_api.submit import Submitter
from opeva_specs.model import is_job_id
from opeva_specs.settings import Settings
from opeva_specs.store import ControlStore
from opeva_specs.volume import SharedVolume

T = TypeVar("T")
SLOW_AFTER_SECONDS = 30.0
NOT_FOUND = "Job not found"


class Json(Response):
    """Strict JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes, unless they are bytes already."""
        return content if isinstance(content, bytes) else dumps(content)


class Services:
    """Every part of the API, wired to one volume."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.volume = SharedVolume(settings.shared_data)
        self.index = Index(self.volume, settings)
        self.heart = Heart(self.volume)
        self.feed = Feed(self.volume, self.index, self.heart, settings.poll_seconds)
        self.control = ControlStore(self.volume)
        self.configs = ConfigFiles(self.volume)
        self.files = JobFiles(self.volume)
        self.logs = LogFiles(self.volume)
        self.datasets = DataSets(self.volume, settings.dataset_max_bytes, settings.min_free_bytes)
        self.submitter = Submitter(self.volume, settings, self.index, self.configs, self.heart)
        self.readers = CapacityLimiter(16)
        self.writers = CapacityLimiter(16)
        self.followers = 0

    def job(self, name: str, absent: str = NOT_FOUND) -> Record:
        """The job of that name; raises 404."""
        record = self.index.get(name) if is_job_id(name) else None
        if record is None:
            raise HTTPException(404, absent)
        return record

    async def reading(self, function: Callable[..., T], *args: Any) -> T:
        """What a blocking look at files gives; 503 when the volume does not answer."""
        return await _bounded(self.readers, function, *args)

    async def writing(self, function: Callable[..., T], *args: Any) -> T:
        """What a durable write gives; 503 when the volume does not answer, and the write may still happen."""
        return await _bounded(self.writers, function, *args)


async def _bounded(limiter: CapacityLimiter, function: Callable[..., T], *args: Any) -> T:
    with anyio.move_on_after(SLOW_AFTER_SECONDS):
        return await to_thread.run_sync(function, *args, limiter=limiter, abandon_on_cancel=True)
    raise HTTPException(503, "the shared volume does not answer in time: see /jobs for what was done, then try again")


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Api = Annotated[Services, Depends(_services)]
