"""Values to lines and tables for a terminal; nothing a job wrote may steer it."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 250


def jobs_table(jobs: Sequence[dict[str, Any]]) -> Table:
    """One line per job, in the order given."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("JOB", "STATUS", "REASON", "NAME", "BY", "QUEUED", "RAN"):
        table.add_column(column, no_wrap=column not in ("NAME", "BY"))
    for job in jobs:
        info = job.get("job_info")
        notes: dict[str, Any] = info if isinstance(info, dict) else {}
        cells = (
            job.get("job_id"),
            job.get("status"),
            job.get("reason"),
            notes.get("job_name"),
            notes.get("submitted_by"),
            moment(job.get("queued_at", job.get("submitted_at"))),
            duration(job.get("run_duration_seconds")),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def facts(record: dict[str, Any]) -> Iterable[str]:
    """The record as `name: value` lines; what is empty or nested is left out."""
    for name, value in record.items():
        if value is None or value == "" or isinstance(value, dict | list):
            continue
        shown = moment(value) if name.endswith("_at") else plain(value)
        yield f"{plain(name)}: {shown}"


def reasons(told: dict[str, Any]) -> Iterable[str]:
    """Why a job waits: one sentence, then a line for each thing in its way and what would change it."""
    position, host = told.get("position"), told.get("host")
    where = f" (place {plain(position)} in the line of {plain(host)})" if position is not None else ""
    yield f"{plain(told.get('job_id'))} {plain(told.get('status'))}{where}: {plain(told.get('message'))}"
    blockers = told.get("blockers")
    for blocker in blockers if isinstance(blockers, list) else []:
        if isinstance(blocker, dict):
            until = f"; until {plain(blocker['unblocks'])}" if blocker.get("unblocks") else ""
            yield f"  {plain(blocker.get('kind'))}: {plain(blocker.get('message'))}{until}"
    if told.get("note"):
        yield f"  {plain(told['note'])}"


def plain(value: object) -> str:
    """Text on one line without control characters; nothing for None."""
    if value is None:
        return ""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def moment(value: object) -> str:
    """An instant in UTC, from seconds since 1970; any other text as it is."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return plain(value)
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return plain(value)


def duration(value: object) -> str:
    """Seconds as a person says them: `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def print_table(table: Table) -> None:
    """To stdout; not cut to 80 columns when that is a pipe."""
    is_terminal = sys.stdout.isatty()
    Console(width=None if is_terminal else _PIPE_WIDTH, highlight=False).print(table)
