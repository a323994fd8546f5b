"""Imports go one way: from the command line down, never up and never sideways between choices."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import thrifty
from thrifty.config.registry import CHOICES

PACKAGE = Path(thrifty.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
GROUPS = ("tasks", "architectures", "optimizers", "schedules", "precisions", "pruners", "quantizers", "engines", "formats")

LAYERS: list[tuple[str, ...]] = [
    ("errors", "atomic", "stop", "identity", "paths", "__init__"),
    ("config", "metrics", "record", "events", "store", "cache"),
    ("measure", "layers"),
    GROUPS,
    ("methods", "execution", "sinks"),
    ("instrument",),
    ("sweeps", "studies"),
    ("report",),
    ("cli", "__main__"),
]
"""From the bottom up: a room imports from its own layer and those below it. `measure` is below the choices, as tasks score
with its statistics."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room(module: str) -> str:
    """The folder, or the file beside the folders, that a module lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] == "thrifty")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            base = node.module or ""
            for one in node.names if base.split(".")[0] == "thrifty" else []:
                inside = PACKAGE.parent / Path(*base.split("."), one.name)
                yield f"{base}.{one.name}" if inside.with_suffix(".py").is_file() or inside.is_dir() else base


def test_every_room_has_its_layer() -> None:
    rooms = {room(module_of(file)) for file in FILES}
    assert rooms <= set(LEVEL), f"say in LAYERS where {rooms - set(LEVEL)} belong"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_go_down(file: Path) -> None:
    mine = room(module_of(file))
    for other in imports(file):
        assert LEVEL[room(other)] <= LEVEL[mine], f"{module_of(file)} imports {other}, which is above it"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_choices_do_not_import_each_other(file: Path) -> None:
    """Not another group's, and of their own only what is no choice: a base, a helper."""
    mine = module_of(file)
    if room(mine) not in GROUPS:
        return
    entries = {choice.entry.split(":")[0] for choices in CHOICES.values() for choice in choices.values() if choice.entry}
    for other in imports(file):
        if room(other) in GROUPS:
            assert room(other) == room(mine), f"{mine} imports {other}"
            assert other not in entries, f"{mine} imports the choice {other}"


@pytest.mark.parametrize("file", sorted((PACKAGE / "sinks").glob("*.py")), ids=module_of)
def test_sinks_know_events_only(file: Path) -> None:
    allowed = (
        "thrifty.events",
        "thrifty.errors",
        "thrifty.sinks",
        "thrifty.config.choices",
    )  # choices: their own configuration
    for other in imports(file):
        assert other.startswith(allowed), f"{module_of(file)} imports {other}"


@pytest.mark.parametrize("file", sorted((PACKAGE / "measure").glob("*.py")), ids=module_of)
def test_measuring_knows_callables_only(file: Path) -> None:
    for other in imports(file):
        assert other.startswith(("thrifty.measure", "thrifty.metrics")), f"{module_of(file)} imports {other}"


@pytest.mark.parametrize("file", sorted((PACKAGE / "config").glob("*.py")), ids=module_of)
def test_configuration_names_choices_without_importing_them(file: Path) -> None:
    for other in imports(file):
        assert other.startswith(("thrifty.config", "thrifty.errors")), f"{module_of(file)} imports {other}"


@pytest.mark.parametrize("library", ["wandb", "optuna", "torch", "pandas", "sklearn"])
@pytest.mark.parametrize("file", sorted(PACKAGE.parent.joinpath("hydra_plugins").glob("*.py")), ids=lambda file: file.stem)
def test_hydra_s_door_imports_nothing_heavy(file: Path, library: str) -> None:
    for node in ast.parse(file.read_text()).body:
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0] in (library, "thrifty") for name in names)


def test_hydra_has_one_consumer() -> None:
    users = {module_of(file) for file in FILES for node in ast.walk(ast.parse(file.read_text())) if _imports_hydra(node)}
    assert all(user.startswith("thrifty.config.") for user in users), users


def _imports_hydra(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(one.name.split(".")[0] == "hydra" for one in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hydra"
