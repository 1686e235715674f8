"""What was deleted is forgotten: memory does not grow with the jobs that there ever were."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.unit.simulation import Simulation

from opeva_api.index import Index
from opeva_api.testing import PlayedOperator
from opeva_operator.testing import FakeEngine
from opeva_specs.settings import Settings
from opeva_specs.status import Phase
from opeva_specs.volume import SharedVolume

SPEC = "apiVersion: opeva.io/v1\nkind: SimulationJob\nmetadata: {{name: {}}}\nspec: {{args: [x]}}\n"


def places(root: object, word: str) -> set[str]:
    """Where, in all that can be reached from an object, a text that has the word in it is kept."""
    todo: list[tuple[str, object]] = [("", root)]
    seen: set[int] = set()
    found = set()
    while todo:
        path, one = todo.pop()
        if isinstance(one, str | bytes | Path) and word in (
            one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)
        ):
            found.add(path)
        if id(one) not in seen and not isinstance(one, str | bytes | Path | SharedVolume | FakeEngine | type):
            seen.add(id(one))
            todo += [(f"{path}.{name}", inner) for name, inner in inside(one)]
    return found


def inside(one: Any) -> Iterator[tuple[str, object]]:
    if isinstance(one, Mapping):
        for key, value in list(one.items()):
            yield from (("key", key), ("value", value))
    elif isinstance(one, list | tuple | set | frozenset) or type(one).__name__ == "deque":
        yield from (("item", item) for item in list(one))
    elif type(one).__module__.startswith(("opeva_", "tests.")):
        names = {*getattr(one, "__dict__", {}), *(n for c in type(one).__mro__ for n in getattr(c, "__slots__", ()))}
        yield from ((name, getattr(one, name, None)) for name in names)


def test_the_operator_forgets_every_name_that_was_deleted(tmp_path: Path) -> None:
    s = Simulation(tmp_path / "data")
    s.drop("kept")
    for number in range(6):
        s.drop(f"lapsed{number}", file=f"api/lapsed{number}.yaml")
    s.drop("lapsed-bad", file="api/lapsed-bad.yaml", image="no such")
    s.write("api/lapsed-twin.yaml", (s.volume.specs / "api/lapsed0.yaml").read_text())
    s.run()
    assert places(s.operator, "lapsed0")
    s.engine.history.clear()
    for number in range(6):
        s.finish(f"lapsed{number}")
        s.wait(3)
    s.remove("api/lapsed-twin.yaml")
    for number in range(6):
        s.wish(f"lapsed{number}", "delete")
    s.wish("lapsed-bad", "delete")
    s.wait(120)
    assert list((tmp_path / "data" / "status").iterdir()) == [tmp_path / "data" / "status" / "kept.json"]
    s.engine.fate.met.clear()
    assert places(s.operator, "kept")
    assert places(s.operator, "lapsed") == set()


def test_the_api_forgets_every_name_that_was_deleted(tmp_path: Path) -> None:
    operator = PlayedOperator(tmp_path)
    index = Index(operator.volume, Settings(shared_data=tmp_path))
    for number, phase in enumerate(Phase):
        operator.tells(f"lapsed{number}", phase)
        operator.writes(f"specs/api/lapsed{number}-new.yaml", SPEC.format(f"lapsed{number}-new"))
        operator.writes(f"control/lapsed{number}.json", b"{")
    index.rescan()
    assert places(index, "lapsed1")
    for folder in ("status", "specs/api", "control"):
        for path in (tmp_path / folder).iterdir():
            path.unlink()
    index.rescan()
    assert len(index) == 0
    assert places(index, "lapsed") == set()
