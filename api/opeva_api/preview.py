"""Preview: what would be in the way of a spec that joined now, by what the operator told of hosts and images."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException

from opeva_api import images
from opeva_api.configfiles import BadConfig, as_bytes
from opeva_api.explain import as_told, in_the_way, sentence
from opeva_api.imagenames import plain, repository_of, tag_of
from opeva_api.services import Services
from opeva_api.standing import claim_of
from opeva_specs import surroundings
from opeva_specs.configs import read_names
from opeva_specs.model import JobSpec, config_file
from opeva_specs.parse import Document, SpecInvalid, parse
from opeva_specs.policy import denied
from opeva_specs.status import Reason
from opeva_specs.terms import Blocker

_NOBODY = "(this job)"  # no job can be called that, so nobody in the line is disturbed


def previewed(api: Services, data: bytes) -> dict[str, Any]:
    """What `/explain` would tell of the one job in this text; raises 400 when it could not be accepted."""
    document = _one(data)
    job = document.job
    seen = [as_told(blocker) for blocker in around(api, document)]
    claim = replace(claim_of(job, datetime.now(UTC), api.settings.default_demand), name=_NOBODY)
    place = api.index.lineup.if_joined(claim)
    blockers = in_the_way(seen, place)
    told = {
        "job_id": job.metadata.name,
        "status": "queued",
        "reason": blockers[0]["kind"] if blockers else Reason.ACCEPTED,
        "message": sentence(blockers, place),
        "position": None if seen else place.position,
        "blockers": blockers,
        "host": claim.host,
        "queued_since": None,
    }
    return told | _note(api, document)


def around(api: Services, document: Document) -> Iterator[Blocker]:
    """Everything in the way that is no matter of capacity or order."""
    job = document.job
    refusal = denied(job)
    if refusal is not None:
        yield Blocker(kind=Reason.POLICY_DENIED, message=refusal, unblocks="the spec is changed")
    if job.spec.suspend:
        words = "suspend is true in its spec"
        yield Blocker(kind=Reason.SUSPENDED, message=words, unblocks="suspend is set to false")
    yield from _inputs(api, job.spec)
    host = job.spec.target_host or "local"
    yield from _host(api, host)
    disk = surroundings.disk_pressure(api.volume, api.settings.min_free_bytes)
    if disk is not None:
        yield disk
    yield from _image(api, job.spec, host)


def _one(data: bytes) -> Document:
    try:
        documents = parse(data)
    except SpecInvalid as error:
        raise HTTPException(400, error.errors[0].sentence()) from error
    if len(documents) != 1:
        raise HTTPException(400, f"the text holds {len(documents)} jobs: send one at a time")
    return documents[0]


def _inputs(api: Services, spec: JobSpec) -> Iterator[Blocker]:
    """The config, and the data set that it names."""
    try:
        data = _config(api, spec)
        names = read_names(data) if data is not None else None
    except (BadConfig, ValueError) as error:
        yield surroundings.config_missing(str(error))
        return
    name = surroundings.data_set_of(names.dataset_path) if names is not None else None
    missing = surroundings.data_set_missing(api.volume, name) if name is not None else None
    if missing is not None:
        yield missing


def _config(api: Services, spec: JobSpec) -> bytes | None:
    if spec.config is not None:
        return as_bytes(spec.config, "config.json")
    return api.configs.read(config_file(spec.config_path)) if spec.config_path is not None else None


def _host(api: Services, host: str) -> Iterator[Blocker]:
    known = api.heart.hosts
    if host not in known:
        yield surroundings.host_unknown(host, known)
        return
    told = api.heart.beat.hosts.get(host)
    if not isinstance(told, dict):
        return
    details = {"host": host}
    message = str(told.get("message") or "")
    if told.get("online") is False:
        words = f"host {host!r} cannot be reached" + (f": {message}" if message else "")
        yield Blocker(kind=Reason.ENGINE_UNREACHABLE, message=words, unblocks="its engine answers", details=details)
    elif told.get("usable") is False:
        words = f"host {host!r} cannot be used" + (f": {message}" if message else "")
        yield Blocker(
            kind=Reason.HOST_UNUSABLE, message=words, unblocks="what is wrong there is mended", details=details
        )


def _image(api: Services, spec: JobSpec, host: str) -> Iterator[Blocker]:
    """Whether the image has to be fetched; nothing while nobody knows what the host has."""
    image = spec.image or api.settings.default_image
    seen = images.read(api.volume)
    if not seen or host not in api.heart.hosts:
        return
    is_there = _with_tag(plain(image)) in images.of_host(seen, host)
    details = {"image": image, "host": host}
    if spec.image_pull_policy == "Never" and not is_there:
        words = f"host {host!r} has no image {image!r}, and imagePullPolicy Never forbids fetching it"
        yield Blocker(
            kind=Reason.IMAGE_PULL_FAILED, message=words, unblocks="the image is brought there", details=details
        )
    elif spec.image_pull_policy == "Always" or not is_there:
        words = f"its image {image!r} is fetched first"
        yield Blocker(kind=Reason.PULLING, message=words, unblocks="the image is here", details=details)


def _with_tag(image: str) -> str:
    """The image as a host names it: with its digest alone, or with a tag."""
    if "@" in image:
        return f"{repository_of(image)}@{image.partition('@')[2]}"
    return f"{repository_of(image)}:{tag_of(image)}"


def _note(api: Services, document: Document) -> dict[str, str]:
    """What else a job of that name would mean."""
    known = api.index.get(document.job.metadata.name)
    if known is None:
        return {}
    if known.told().get("digest") == document.digest:
        return {"note": f"this very job is there already and {known.word}: see /explain/{known.job_id}"}
    return {"note": f"a job of this name is there already and {known.word}: this would be its next run"}
