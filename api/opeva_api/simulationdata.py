"""Simulation data: tables that a job exports per session under `results/simulation_data/`."""

import os
import re
from datetime import date
from typing import Any

from fastapi import HTTPException

from opeva_api import tree
from opeva_api.tree import File
from opeva_specs.volume import SharedVolume

LATEST = "latest"
MAX_TABLES = 2000
_ALL_BYTES, _TABLE_BYTES = 16 * 2**20, 2 * 2**20  # of what is read to learn the days
_DAY = re.compile(rb"(?:^|,)\"?([0-9]{4}-[0-9]{2}-[0-9]{2})(?=[T ,\"\r\n])", re.MULTILINE)


def root_of(job_id: str) -> str:
    """The folder of all sessions of a job."""
    return f"jobs/{job_id}/results/simulation_data"


def sessions(volume: SharedVolume, job_id: str) -> list[str]:
    """Names of all sessions, the newest first; none where nothing was exported."""
    try:
        with volume.folder(root_of(job_id)) as fd, os.scandir(fd) as entries:
            found = [(entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries if _is_one(entry)]
    except OSError:
        return []
    return [name for _, name in sorted(found, reverse=True)]


def indexed(volume: SharedVolume, job_id: str, session: str) -> dict[str, Any]:
    """The tables of a session and the days they tell of; raises 404 when there is no such session."""
    name = _chosen(volume, job_id, session)
    listing = tree.listed(volume, f"{root_of(job_id)}/{name}", MAX_TABLES)
    tables = [file for file in listing.files if file.path.lower().endswith(".csv")]
    return {
        "root_path": f"/data/{root_of(job_id)}/{name}",
        "session": name,
        "files": [file.path for file in tables],
        "available_days": _days(volume, f"{root_of(job_id)}/{name}", tables),
        "sessions": sessions(volume, job_id),
        "truncated": not listing.is_whole,
    }


def folders(volume: SharedVolume, job_id: str, session: str) -> list[str]:
    """Where a file of that session may lie, the likeliest place first."""
    everywhere = [root_of(job_id), f"jobs/{job_id}"]
    try:
        return [f"{root_of(job_id)}/{_chosen(volume, job_id, session)}", *everywhere]
    except HTTPException:
        return everywhere


def _chosen(volume: SharedVolume, job_id: str, session: str) -> str:
    known = sessions(volume, job_id)
    if session in known:
        return session
    if session == LATEST and known:
        return known[0]
    raise HTTPException(404, "this job has no simulation data" + (f" of session {session[:80]!r}" if known else ""))


def _is_one(entry: os.DirEntry[str]) -> bool:
    return entry.name.isprintable() and entry.is_dir(follow_symlinks=False)


def _days(volume: SharedVolume, folder: str, tables: list[File]) -> list[str]:
    """Days that the tables have rows of, as far as a bounded look tells."""
    found: set[bytes] = set()
    left = _ALL_BYTES
    for table in tables:
        if left <= 0:
            break
        try:
            download = tree.opened(volume, f"{folder}/{table.path}")
            data = b"".join(_beginning(volume, download, min(left, _TABLE_BYTES)))
        except OSError:
            continue
        left -= len(data)
        found.update(_DAY.findall(data))
    return sorted(day for day in (word.decode() for word in found) if _is_day(day))


def _beginning(volume: SharedVolume, download: tree.Download, limit: int) -> list[bytes]:
    pieces, size = [], 0
    for piece in tree.pieces(volume, download):
        pieces.append(piece)
        size += len(piece)
        if size >= limit:
            break
    return pieces


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
