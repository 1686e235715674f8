"""Upload: a multipart body as it comes in, fields in memory, files in a folder of the volume; bounded in every way."""

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from opeva_specs.volume import SharedVolume

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FILES = 1000
_MAX_FIELDS, _MAX_FIELD_BYTES = 32, 4096


@dataclass(frozen=True, slots=True)
class Received:
    """A file as it was sent: the name it came with, and where it lies on the volume."""

    name: str
    path: str


class Upload:
    """One multipart body; `feed` it, then `finish`, and `close` it whatever happened."""

    def __init__(self, volume: SharedVolume, folder: str, boundary: bytes, limit: int, least_free: int) -> None:
        self.fields: dict[str, str] = {}
        self.files: list[Received] = []
        self._volume, self._folder = volume, folder
        self._limit, self._least_free = limit, least_free
        self._size = 0
        self._is_over = False
        self._headers: dict[str, str] = {}
        self._header = [b"", b""]
        self._field: tuple[str, bytearray] | None = None
        self._file: IO[bytes] | None = None
        self._parser = MultipartParser(boundary, self._callbacks())

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises HTTPException when they cannot be taken."""
        self._size += len(data)
        if self._size > self._limit + 2**20:  # what is around the files
            raise HTTPException(413, f"the upload is larger than {self._limit} bytes")
        check_room(self._volume, self._least_free, len(data))
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise HTTPException(400, f"cannot read the upload: {str(error)[:200]}") from error

    def finish(self) -> None:
        """Note the end of the body; raises 400 when it broke off, or holds no file."""
        if not self._is_over:
            raise HTTPException(400, "the upload broke off before its end")
        if not self.files:
            raise HTTPException(400, "the upload holds no file: send it as the part 'file'")

    def close(self) -> None:
        """Close what is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._headers.clear,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._grow_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow_header(1, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_part,
            "on_part_data": lambda data, start, end: self._take(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_header(self) -> None:
        self._header = [b"", b""]

    def _grow_header(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _end_header(self) -> None:
        self._headers[self._header[0].decode("latin-1").lower()] = self._header[1].decode("latin-1")

    def _begin_part(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        name, file_name = options.get(b"name", b"").decode("utf-8", "replace"), options.get(b"filename")
        if file_name is not None:
            self._begin_file(file_name.decode("utf-8", "replace"))
        elif len(self.fields) >= _MAX_FIELDS:
            raise HTTPException(400, f"the upload has more than {_MAX_FIELDS} fields")
        else:
            self._field = (name, bytearray())

    def _begin_file(self, name: str) -> None:
        if len(self.files) >= MAX_FILES:
            raise HTTPException(400, f"the upload has more than {MAX_FILES} files: send them as one zip file")
        path = f"{self._folder}/{len(self.files)}"
        fd = self._volume.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._file = os.fdopen(fd, "wb")
        self.files.append(Received(name, path))

    def _take(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
        elif self._field is not None:
            self._field[1].extend(data)
            if len(self._field[1]) > _MAX_FIELD_BYTES:
                raise HTTPException(400, f"the field {self._field[0][:40]!r} is longer than {_MAX_FIELD_BYTES} bytes")

    def _end_part(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
        elif self._field is not None:
            self.fields[self._field[0]] = self._field[1].decode("utf-8", "replace").strip()
        self._field = None

    def _end(self) -> None:
        self._is_over = True


def check_room(volume: SharedVolume, least: int, more: int) -> None:
    """Raise 507 when the volume would have less room than that after so many more bytes."""
    if volume.free_bytes() - more < least:
        raise HTTPException(507, "the shared volume would have too little room left: nothing was accepted")


def boundary_of(request: Request) -> bytes:
    """What divides the parts of a multipart body; raises 415 when the body is none."""
    written = request.headers.get("content-type", "")
    kind, options = parse_options_header(written)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 256:
        raise HTTPException(
            415, f"cannot read a body of type {written[:60] or 'unknown'!r}: send multipart/form-data with the file"
        )
    return boundary
