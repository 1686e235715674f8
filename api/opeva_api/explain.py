"""Why a job waits: every blocker at once, where it stands, and one sentence for a person."""

from collections.abc import Iterable
from typing import Any

from opeva_api.lineup import Lineup, Place
from opeva_api.record import STOP_REQUESTED, Record
from opeva_api.standing import OF_THE_LINE
from opeva_specs.terms import Blocker

Told = dict[str, Any]


def explained(record: Record, lineup: Lineup) -> Told:
    """What is in a job's way, if it waits; of any other how it is."""
    told = record.told()
    answer = {"job_id": record.job_id, "status": record.word, "reason": told["reason"]}
    where = {"host": told.get("host"), "queued_since": record.queued_at}
    if record.word != "queued" or record.standing is None:
        return answer | {"message": _how_it_is(told), "position": None, "blockers": []} | where
    place = lineup.why(record.job_id)
    blockers = in_the_way(record.standing.blockers, place)
    return answer | {"message": sentence(blockers, place), "position": place.position, "blockers": blockers} | where


def in_the_way(seen: Iterable[Told], place: Place) -> list[Told]:
    """What was seen around the job, then what the line says now; where it cannot tell, what was seen of it as well."""
    if place.hindrances is None:
        return [_whole(blocker) for blocker in seen]
    around = [_whole(blocker) for blocker in seen if blocker["kind"] not in OF_THE_LINE]
    return around + [as_told(blocker) for blocker in place.hindrances]


def as_told(blocker: Blocker) -> Told:
    """A blocker as clients are told of it."""
    return blocker.model_dump(mode="json", include={"kind", "message", "unblocks", "details"})


def sentence(blockers: list[Told], place: Place) -> str:
    """Why the job waits, in one sentence."""
    if not blockers:
        if place.hindrances is None:
            return "The job waits until the operator has looked at its host."
        return "It is this job's turn: it starts as soon as the operator has looked at it."
    first = blockers[0]["message"] or f"the job waits ({blockers[0]['kind']})"
    rest = len(blockers) - 1
    more = "" if rest == 0 else f"; and {rest} more {'reason' if rest == 1 else 'reasons'}"
    return f"{first[:1].upper()}{first[1:]}{more}."


def _how_it_is(told: Told) -> str:
    word, message = told["status"], told["message"]
    words = {
        "launching": "The job is being started",
        "running": "The job runs",
        STOP_REQUESTED: "The job is being stopped",
    }
    start = words.get(word, f"The job is {word} ({told['reason']})")
    is_said = not message or message.rstrip(".").lower() in start.lower()
    return f"{start}{'' if is_said else ': ' + message.rstrip('.')}."


def _whole(blocker: Told) -> Told:
    return {
        "kind": blocker["kind"],
        "message": blocker.get("message", ""),
        "unblocks": blocker.get("unblocks", ""),
        "details": blocker.get("details") or {},
    }
