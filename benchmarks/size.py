"""How much is measured: as much as the targets ask for, or a small run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Counts, and seconds."""

    pairs: int = 30
    gap_seconds: float = 0.5
    jobs: int = 100
    rounds: int = 5
    floor_rounds: int = 3
    floor_jobs: int = 40
    finished: int = 10_000
    running: int = 20
    restarts: int = 5
    status_reads: int = 2000
    list_reads: int = 50
    posts: int = 400
    waiting: int = 10_000
    explained: int = 1000
    explains: int = 1000
    relays: int = 8
    hand_overs: int = 5
    quiet_seconds: float = 30.0
    idle_seconds: float = 60.0


FULL = Size()
QUICK = Size(
    pairs=8,
    gap_seconds=0.2,
    jobs=40,
    rounds=2,
    floor_rounds=2,
    floor_jobs=24,
    restarts=2,
    status_reads=500,
    list_reads=15,
    posts=100,
    waiting=2000,
    explains=300,
    relays=2,
    quiet_seconds=10.0,
    idle_seconds=20.0,
)
