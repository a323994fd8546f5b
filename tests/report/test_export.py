"""`thrifty export` as its user types it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conftest import Cli, FinishedRun
from thrifty.cli import thrifty_command
from thrifty.errors import BadConfiguration, BadData, ThriftyError, Unsupported
from thrifty.formats.registry import ALL
from thrifty.identity import manifest_digest

FILES = ("model.json", "model.safetensors")


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def there() -> list[str]:
    return sorted(one.name for one in Path().iterdir())


def refused(*arguments: str, kind: type[ThriftyError]) -> str:
    before = there()
    with pytest.raises(kind) as caught:
        thrifty_command(["export", *arguments])
    assert "\n" not in str(caught.value)
    assert there() == before
    return str(caught.value)


def test_there_and_back_in_processes_of_their_own(cli: Cli, text_run: FinishedRun) -> None:
    done = cli("export", text_run.path.name, "--format", "npz+shuffle+zstd", "--store", str(text_run.store))
    file = cli.cwd / "model.npz.zst"
    size, dense = file.stat().st_size, (text_run.path / "model.safetensors").stat().st_size
    assert done.stdout == f"model.npz.zst: {size:,} bytes, {size / dense:.3f} of the run's model.safetensors\n"
    assert done.stderr == ""
    back = cli("export", "model.npz.zst", "--to-run", "back")
    assert back.stdout.startswith("back: model.safetensors and model.json, ")
    assert sorted(one.name for one in (cli.cwd / "back").iterdir()) == list(FILES)
    for name in FILES:
        assert (cli.cwd / "back" / name).read_bytes() == (text_run.path / name).read_bytes()
    assert sorted(one.name for one in cli.cwd.iterdir()) == ["back", "model.npz.zst"]


def test_a_bad_file_is_one_line_and_leaves_nothing(cli: Cli, text_run: FinishedRun) -> None:
    cli("export", str(text_run.path), "--format", "torch")
    os.truncate(cli.cwd / "model.pt", 5000)
    assert "model.pt: " in cli.refused("export", "model.pt", "--to-run", "back", code=4)
    assert [one.name for one in cli.cwd.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("name", ["torch", "safetensors", "hdf5", "npz", "sparse"])
def test_each_format_has_its_ending(name: str, text_run: FinishedRun) -> None:
    if name == "hdf5":
        pytest.importorskip("h5py")
    endings = {"torch": "pt", "safetensors": "safetensors", "hdf5": "h5", "npz": "npz", "sparse": "sparse.safetensors"}
    assert thrifty_command(["export", str(text_run.path), "--format", name]) == 0
    assert there() == [f"model.{endings[name]}"]


def test_a_file_that_is_there_is_replaced_only_when_told(text_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.npz").write_text("mine")
    arguments = (str(text_run.path), "--format", "npz", "-o", "mine.npz")
    assert "--force" in refused(*arguments, kind=BadConfiguration)
    assert Path("mine.npz").read_text() == "mine"
    assert thrifty_command(["export", *arguments, "--force"]) == 0
    assert capsys.readouterr().out.startswith("mine.npz: ")
    assert there() == ["mine.npz"]


def test_what_came_back_can_be_exported_again(text_run: FinishedRun) -> None:
    thrifty_command(["export", str(text_run.path), "--format", "npz"])
    thrifty_command(["export", "model.npz", "--to-run", "back"])
    thrifty_command(["export", "back", "--format", "npz", "-o", "again.npz"])
    assert Path("again.npz").read_bytes() == Path("model.npz").read_bytes()


def test_what_came_back_predicts(tabular_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.datasets import load_breast_cancer

    load_breast_cancer(as_frame=True).data.head(5).to_csv("new.csv", index=False)
    thrifty_command(["predict", str(tabular_run.path), "new.csv"])
    expected = capsys.readouterr().out
    thrifty_command(["export", str(tabular_run.path), "--format", "npz"])
    thrifty_command(["export", "model.npz", "--to-run", "back"])
    capsys.readouterr()
    thrifty_command(["predict", "back", "new.csv"])
    assert capsys.readouterr().out == expected
    described = json.loads(Path("back/model.json").read_text())
    for wrong in ({"task": {"name": "nothing"}}, {"task": []}, {"config_hash": 7}, {"schema": 2}):
        changed = described | wrong
        Path("back/model.json").write_text(json.dumps(changed | {"sha256": manifest_digest(changed)}))
        with pytest.raises(BadData, match="is not a manifest of ours, or was altered"):
            thrifty_command(["predict", "back", "new.csv"])
    Path("empty").mkdir()
    with pytest.raises(BadConfiguration, match=r"is a directory without a result\.json"):
        thrifty_command(["predict", "empty", "new.csv"])


def test_the_directory_we_are_in_is_not_replaced(text_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    thrifty_command(["export", str(text_run.path), "--format", "npz"])
    file = Path("model.npz").resolve()
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    for given in (".", "", "../empty"):
        assert "is the directory we are in" in refused(str(file), "--to-run", given, kind=BadConfiguration)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "takes one --format"),
        (("--format", "npz", "--format", "torch"), "2 were given"),
        (("--format", "hdf"), "did you mean 'hdf5'"),
        (("--format", "npz+shuffle"), "there is none of that name"),
        (("--format", "npz", "-o", "."), "is a directory"),
        (("--format", "npz", "--rounds", "2"), "--rounds does not go with"),
        (("--format", "npz", "--json"), "--json does not go with"),
        (("--measure", "--rounds", "0"), "must be 1 to 1000"),
        (("--measure", "-o", "file"), "--output does not go with"),
        (("--measure", "--to-run", "back"), "--measure does not go with"),
        (("--format", "npz", "--to-run", "back"), "--format does not go with"),
        (("--to-run", "back"), "there is no such file"),
    ],
)
def test_what_does_not_go_together(arguments: tuple[str, ...], says: str, text_run: FinishedRun) -> None:
    assert says in refused(str(text_run.path), *arguments, kind=BadConfiguration)


def test_a_run_that_is_not_there() -> None:
    assert "no such run" in refused("nowhere", "--format", "npz", kind=BadConfiguration)


def test_a_place_that_cannot_be_written(text_run: FinishedRun) -> None:
    message = refused(str(text_run.path), "--format", "npz", "-o", "no/such/place.npz", kind=BadData)
    assert "there is no folder no/such; make it" in message


def test_weights_that_were_altered_are_not_exported(tmp_path: Path, text_run: FinishedRun) -> None:
    run = text_run.copied_to(tmp_path / "results")
    os.truncate(run / "model.safetensors", 1000)
    assert "altered or truncated" in refused(str(run), "--format", "npz", kind=BadData)


def test_without_h5py(text_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "thrifty[hdf5]" in refused(str(text_run.path), "--format", "hdf5", kind=Unsupported)


def test_what_formats_cost(text_run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A real measurement of one of them, from fresh processes."""
    arguments = [str(text_run.path), "--measure", "--rounds", "1", "--format", "sparse+zstd"]
    assert thrifty_command(["export", *arguments, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["reason"], found["lazily"]) == ("sparse+zstd", None, None)
    assert found["ratio"] == found["bytes"] / (text_run.path / "model.safetensors").stat().st_size
    assert len(found["write_s"]["values"]) == len(found["fully"]["seconds"]["values"]) == 1
    assert there() == []


def test_every_format_is_measured_unless_told(text_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("thrifty.instrument.format_trials.measure_formats", lambda *given: asked.extend(given) or [])
    assert thrifty_command(["export", str(text_run.path), "--measure"]) == 0
    assert asked[2:4] == [ALL, 3]
