"""Submitter: a request becomes a spec file, once everything in it is known to be good, or one sentence why not."""

import hashlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException
from pydantic import TypeAdapter, ValidationError

from opeva_api.configfiles import BadConfig, ConfigFiles, as_bytes, checked_name, names_in
from opeva_api.heart import Heart
from opeva_api.imagenames import repository_of, tag_of
from opeva_api.index import Index
from opeva_api.record import from_spec
from opeva_api.runrequest import RunRequest
from opeva_api.spectext import NotWritable, write_spec
from opeva_api.standing import LOCAL, PROFILE
from opeva_specs.configs import ConfigNames
from opeva_specs.model import API_VERSION, KIND, ConfigPath, config_file
from opeva_specs.parse import Document, SpecInvalid, parse
from opeva_specs.settings import Settings
from opeva_specs.store import Damaged, StatusStore
from opeva_specs.volume import SharedVolume
from opeva_specs.yamltree import MAX_BYTES

JOB_NAME = "opeva.io/job-name"
REQUEST_DIGEST = "opeva.io/request-digest"
_KEYS = uuid.UUID("6f70e7a0-6f62-5ea1-8a5e-0000f0b5a11e")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_CONFIG_PATH: TypeAdapter[str] = TypeAdapter(ConfigPath)
_TOO_MUCH_FOR_A_SPEC = frozenset({"TooLarge", "TooDeep"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A good request, and what follows from it."""

    job_id: str
    request: RunRequest
    image: str | None
    names: ConfigNames
    request_digest: str | None

    @property
    def job_name(self) -> str:
        if self.request.job_name:
            return self.request.job_name
        is_named = self.names.experiment_name or self.names.run_name
        return self.names.job_name if is_named else self.job_id


class Submitter:
    """The way of a request into `specs/api/`; what it accepted is durable and shown at once."""

    def __init__(
        self, volume: SharedVolume, settings: Settings, index: Index, configs: ConfigFiles, heart: Heart
    ) -> None:
        self._volume, self._settings, self._index, self._configs = volume, settings, index, configs
        self._heart = heart
        self._locks = tuple(threading.Lock() for _ in range(64))  # one key is never worked on twice at once

    def submit(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        """The answer to a request that is now a job; raises HTTPException or BadConfig, and then nothing is written."""
        if key is None:
            return self._accept(self._draft(str(uuid.uuid4()), body, None))
        job_id = str(uuid.uuid5(_KEYS, _checked_key(key)))
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        request_digest = hashlib.sha256(text.encode()).hexdigest()
        with self._locks[hash(job_id) % len(self._locks)]:
            known = self._notes_of(job_id)
            if known is None:
                return self._accept(self._draft(job_id, body, request_digest))
            if known.get(REQUEST_DIGEST) != request_digest:
                raise HTTPException(409, "this Idempotency-Key was used with another body: use a new key")
            return self._answer(job_id, _read(body), known.get(JOB_NAME, job_id))

    def _draft(self, job_id: str, body: dict[str, Any], digest: str | None) -> _Draft:
        request = _read(body)
        known = self._heart.hosts
        if request.target_host not in (None, *known):
            raise HTTPException(400, f"unknown host {request.target_host!r}: known are {', '.join(known)}")
        _check_words(request)
        image = _image(request, self._settings.default_image)
        return _Draft(job_id=job_id, request=request, image=image, names=self._names(request), request_digest=digest)

    def _names(self, request: RunRequest) -> ConfigNames:
        if request.config is not None:
            return names_in(as_bytes(request.config, request.save_as or ""), "config")
        path = config_file(request.config_path or "")
        try:
            return names_in(self._configs.read(path), f"the config {path!r}")
        except BadConfig as error:
            raise BadConfig(413 if error.status == 413 else 400, str(error)) from error

    def _accept(self, draft: _Draft) -> dict[str, Any]:
        data, document = self._written(draft)
        request = draft.request
        if request.config is not None and request.save_as:
            name = checked_name(request.save_as)
            self._configs.create(name, as_bytes(request.config, name))
        self._volume.write(f"specs/api/{draft.job_id}.yaml", data, durable=True)
        self._index.put(from_spec(document.job, document.digest, time.time(), self._settings))
        return self._answer(draft.job_id, request, draft.job_name)

    def _written(self, draft: _Draft) -> tuple[bytes, Document]:
        """The spec file; a config too large for one is stored beside it first."""
        by, now = draft.request.submitted_by or "an unnamed client", datetime.now(UTC)
        try:
            return write_spec(_spec(draft, draft.request.config, draft.request.config_path), by, now)
        except NotWritable as error:
            raise HTTPException(400, str(error).removeprefix("spec.")) from error
        except RecursionError as error:
            raise HTTPException(400, "config is nested too deep") from error
        except SpecInvalid as error:
            if draft.request.config is None or error.errors[0].reason not in _TOO_MUCH_FOR_A_SPEC:
                raise HTTPException(400, _sentence(error)) from error
        name = draft.request.save_as or f"{draft.job_id}.yaml"
        self._configs.create(checked_name(name), as_bytes(draft.request.config, name))
        return write_spec(_spec(draft, None, name), by, now)

    def _answer(self, job_id: str, request: RunRequest, job_name: str) -> dict[str, Any]:
        image = _image(request, self._settings.default_image) or self._settings.default_image
        return {
            "job_id": job_id,
            "status": "queued",
            "host": request.target_host or LOCAL,
            "job_name": job_name,
            "image": image,
            "image_tag": tag_of(image),
        }

    def _notes_of(self, job_id: str) -> dict[str, str] | None:
        """The annotations of a job that is there already; None when there is no such job."""
        try:
            return parse(self._volume.read(f"specs/api/{job_id}.yaml", MAX_BYTES))[0].job.metadata.annotations
        except FileNotFoundError:
            pass
        except SpecInvalid:
            return {}
        try:
            status = StatusStore(self._volume).read(job_id)
        except Damaged:
            return {}
        return None if status is None else status.metadata.annotations


def _read(body: dict[str, Any]) -> RunRequest:
    try:
        request = RunRequest.model_validate(body)
        if request.config_path is not None:
            _CONFIG_PATH.validate_python(request.config_path)
    except ValidationError as error:
        raise HTTPException(400, _complaint(error)) from error
    if request.config is not None and request.config_path is not None:
        raise HTTPException(400, "the request has both config and config_path: send one of them")
    if request.config is None and request.config_path is None:
        raise HTTPException(400, "the request has neither config nor config_path: send one of them")
    if request.save_as and request.config is not None:
        checked_name(request.save_as)
    return request


def _complaint(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    field = ".".join(map(str, detail["loc"])) or "config_path"
    kinds = {
        "string_type": "must be text",
        "dict_type": "must be a JSON object",
        "int_type": "must be a whole number",
        "bool_type": "must be true or false",
        "list_type": "must be a list",
    }
    return f"{field} {kinds.get(detail['type'], detail['msg'].removeprefix('Value error, '))}"


def _check_words(request: RunRequest) -> None:
    for field in ("job_name", "submitted_by", "target_worker_profile"):
        if not (getattr(request, field) or "").isprintable():
            raise HTTPException(400, f"{field} holds a control character: remove it")


def _image(request: RunRequest, default: str) -> str | None:
    """The image to write into the spec, None to leave it to the default."""
    if request.image_tag is None:
        return request.image
    if not _TAG.fullmatch(request.image_tag):
        raise HTTPException(400, f"image_tag {request.image_tag[:60]!r} is no tag: use letters, digits, '.', '_', '-'")
    return f"{repository_of(request.image or default)}:{request.image_tag}"


def _spec(draft: _Draft, config: dict[str, Any] | None, config_path: str | None) -> dict[str, Any]:
    request = draft.request
    notes = {
        JOB_NAME: draft.job_name,
        "opeva.io/image-tag": request.image_tag,
        PROFILE: request.target_worker_profile,
        REQUEST_DIGEST: draft.request_digest,
    }
    wanted = {
        "image": draft.image,
        "targetHost": request.target_host,
        "submittedBy": request.submitted_by,
        **request.terms(),
        "configPath": config_path,
        "config": config,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": draft.job_id, "annotations": _given(notes)},
        "spec": _given(wanted),
    }


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _checked_key(key: str) -> str:
    if not key.strip() or len(key) > 255 or not key.isprintable():
        raise HTTPException(400, "an Idempotency-Key is 1 to 255 printable characters")
    return key


def _sentence(error: SpecInvalid) -> str:
    first = error.errors[0]
    field = first.field.removeprefix("spec.")
    return f"{field}: {first.message}" if field else first.message
