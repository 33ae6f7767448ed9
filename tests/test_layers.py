"""The layering rule of docs/architecture.md: imports go up the list of rooms, never down."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "asr_ctc"
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
ROOMS = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.MULTILINE)
FACES = set(re.findall(r"^\| `asr_ctc/(\S+\.py)` \|", ARCHITECTURE, re.MULTILINE))


def name_of(file: Path, package: Path) -> str:
    """asr_ctc.room.file of a file."""
    parts = [*file.relative_to(package.parent).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, modules: set[str]) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of the project's own modules, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                if full in modules:
                    yield node.lineno, full
                elif node.module in modules:
                    yield node.lineno, node.module


def violations(package: Path) -> list[str]:
    """Every import that the rule forbids, and the circles of files."""
    files = {name_of(file, package): file for file in sorted(package.rglob("*.py"))}
    problems, graph = [], {}
    for module, file in files.items():
        path = file.relative_to(package).as_posix()
        room = path.split("/")[0] if "/" in path else None
        found = [
            (line, m) for line, m in imports(file.read_text("utf-8"), set(files)) if m != module
        ]
        graph[module] = {imported for _, imported in found}
        if path in FACES or path == "__main__.py":
            continue
        for line, imported in found:
            theirs = imported.split(".")[1] if imported.count(".") else "__init__"
            where = f"{path}:{line} imports {imported}"
            if theirs not in ROOMS:
                problems.append(f"{where}, a face")
            elif room not in ROOMS:
                problems.append(f"{where}, from a file outside every room")
            elif ROOMS.index(theirs) > ROOMS.index(room):
                problems.append(f"{where}: {theirs} comes after {room}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append(f"a circle: {' -> '.join(error.args[1])}")
    return problems


def test_imports_go_up_the_list():
    assert violations(PACKAGE) == []


def test_every_room_is_listed_once_and_exists():
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert sorted(ROOMS) == sorted(folders)
    assert {file.name for file in PACKAGE.glob("*.py")} == FACES | {"__main__.py"}


FOLDERS = sorted(
    file.parent.relative_to(PACKAGE).as_posix() for file in PACKAGE.glob("*/**/__init__.py")
)


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != "commands"])
def test_every_file_is_explained_where_its_folder_is(folder):
    """commands has a file for each command."""
    explained = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text("utf-8")))
    rows = re.findall(r"^(\w+(?:\.py|/)) +\S", explained or "", re.MULTILINE)
    files = [file.name for file in (PACKAGE / folder).glob("*.py") if file.name != "__init__.py"]
    folders = [f"{file.parent.name}/" for file in (PACKAGE / folder).glob("*/__init__.py")]
    assert sorted(rows) == sorted(files + folders)


@pytest.mark.parametrize(
    "line, problem",
    [
        ("from asr_ctc.training.loop import fit", "base/new.py:2 imports asr_ctc.training.loop"),
        ("    import asr_ctc.commands.main", "base/new.py:2 imports asr_ctc.commands.main"),
        ("from asr_ctc.data import CharMap", "base/new.py:2 imports asr_ctc.data, a face"),
        ("from asr_ctc.base import other", "a circle"),
    ],
)
def test_a_wrong_import_is_named(tmp_path, line, problem):
    package = tmp_path / "asr_ctc"
    for name in ("base/__init__", "base/other", "training/loop", "commands/main", "data"):
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("from asr_ctc.base import new\n" if name == "base/other" else "")
    text = f"if True:\n{line if line[0] == ' ' else '    ' + line}\n"
    (package / "base" / "new.py").write_text(text)
    assert any(found.startswith(problem) for found in violations(package))
