"""The pages that explain reasons explain every one of them, once, and no other."""

import re
from collections import Counter
from pathlib import Path

from opeva_specs.settings import variables
from opeva_specs.status import Reason

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("why-not-running.md", "why-did-it-end.md")
HEADS = "| reason | it means | what to do |"


def tables(page: str) -> list[list[list[str]]]:
    """The rows of every table of reasons on a page, as cells."""
    found: list[list[list[str]]] = []
    lines = iter((DOCS / page).read_text().splitlines())
    for line in lines:
        if line != HEADS:
            continue
        assert next(lines) == "| --- | --- | --- |"
        rows = []
        while (row := next(lines, "")).startswith("|"):
            rows.append([cell.strip() for cell in row.strip("|").split("|")])
        found.append(rows)
    return found


def told(page: str) -> list[list[str]]:
    return [[row[0].strip("`") for row in table] for table in tables(page)]


def test_every_reason_has_one_row_and_every_row_has_a_reason() -> None:
    rows = Counter(reason for page in PAGES for table in told(page) for reason in table)
    assert rows == Counter(reason.value for reason in Reason)


def test_waiting_running_and_ended_are_told_apart() -> None:
    waits, is_there = told("why-not-running.md")
    (ends,) = told("why-did-it-end.md")
    assert {"AtCapacity", "BackOff", "Suspended", "HostUnknown"} <= set(waits)
    assert set(is_there) == {"Accepted", "Starting", "Running", "Paused", "Held", "Unkillable"}
    assert {"Completed", "RetriesExhausted", "HostReboot", "Stalled"} <= set(ends)


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    rows = [row for page in PAGES for table in tables(page) for row in table]
    assert [row for row in rows if len(row) != 3 or min(len(cell) for cell in row[1:]) < 7] == []


def test_the_pages_name_only_settings_that_exist() -> None:
    known = {name for name, _, _ in variables()} | {"OPEVA_PREVIOUS_ATTEMPT"}
    named = {word for page in PAGES for word in re.findall(r"OPEVA_[A-Z_]+", (DOCS / page).read_text())}
    assert named - known == set()
