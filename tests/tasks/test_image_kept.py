"""Images of a folder that were decoded once: the same ones come back, and none that are not what the folder holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from example_image_files import pixels, write_folder

from conftest import QUIET, Cli
from thrifty import cache
from thrifty.errors import BadData
from thrifty.tasks import image_kept
from thrifty.tasks.image_kept import read_kept
from thrifty.tasks.image_set import ImageSet
from thrifty.tasks.image_source import read_images


@pytest.fixture(autouse=True)
def _keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_kept, "WORTH_SECONDS", 0.0)


def kept(store: Path) -> list[Path]:
    return [one.path for one in cache.entries(store)]


def same(one: ImageSet, other: ImageSet) -> bool:
    return one.fingerprint == other.fingerprint and one.labels == other.labels and one.given.keys() == other.given.keys()


@pytest.mark.parametrize("splits", [False, True])
def test_the_same_images_come_back_without_decoding(
    tmp_path: Path, store: Path, splits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pets"
    for split in ("train", "test") if splits else ("",):
        write_folder(folder / split, pixels(20 if split != "test" else 10))
    first = read_kept(store, str(folder), None)
    assert same(first, read_images(str(folder), None))
    assert [one.name.startswith("images-pets-") for one in kept(store)] == [True]

    def refuse(given: str | None, resize: int | None) -> ImageSet:
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_kept, "read_images", refuse)
    again = read_kept(store, str(folder), None)
    assert same(again, first)
    assert isinstance(again.pixels, np.memmap)
    for split, places in first.given.items():
        assert np.array_equal(again.given[split], places)
    assert again.about[:-1] == first.about
    assert "decoded before" in again.about[-1]


def test_another_size_or_a_file_that_changed_is_decoded_anew(tmp_path: Path, store: Path) -> None:
    given = write_folder(tmp_path / "pets")
    read_kept(store, given, None)
    assert read_kept(store, given, 3).pixels.shape[2:] == (3, 3)
    write_folder(tmp_path / "pets", 255 - pixels())
    assert np.array_equal(read_kept(store, given, None).pixels, read_images(given, None).pixels)
    (next((tmp_path / "pets" / "cat").glob("*.png"))).unlink()
    assert len(read_kept(store, given, None).classes) == 19


@pytest.mark.parametrize("file", ["pixels.npy", "classes.npy", "set.json"])
@pytest.mark.parametrize("how", ["altered", "cut", "gone"])
def test_what_was_altered_is_decoded_again(tmp_path: Path, store: Path, file: str, how: str) -> None:
    given = write_folder(tmp_path / "pets")
    whole = read_images(given, None)
    read_kept(store, given, None)
    path = kept(store)[0] / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(content[: len(content) // (2 if how == "cut" else 1)]))
    found = read_kept(store, given, None)
    assert same(found, whole)
    assert "decoded before" not in " ".join(found.about)
    assert "decoded before" in read_kept(store, given, None).about[-1]


def test_what_is_quick_to_read_is_not_kept(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_kept, "WORTH_SECONDS", 60.0)
    read_kept(store, write_folder(tmp_path / "pets"), None)
    read_kept(store, None, None)
    assert not store.exists()


def test_a_cache_that_cannot_be_written_costs_the_run_nothing(tmp_path: Path, store: Path) -> None:
    store.mkdir()
    (store / "cache").write_text("in the way")
    given = write_folder(tmp_path / "pets")
    assert same(read_kept(store, given, None), read_images(given, None))


def test_a_folder_that_is_gone_is_not_read_from_the_cache(tmp_path: Path, store: Path) -> None:
    given = write_folder(tmp_path / "pets")
    read_kept(store, given, None)
    shutil.rmtree(given)
    with pytest.raises(BadData, match="no such file"):
        read_kept(store, given, None)


def test_the_bound_holds_for_data_and_models_together(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = write_folder(tmp_path / "pets")
    read_kept(store, given, None)
    monkeypatch.setenv(cache.BOUND, str(500 / 2**30))  # less than both
    read_kept(store, given, 3)
    assert len(kept(store)) == 1
    monkeypatch.setenv(cache.BOUND, "0")
    read_kept(store, given, 4)
    assert len(kept(store)) == 1


@pytest.mark.slow
def test_runs_take_what_is_kept_and_the_command_clears_it(cli: Cli, tmp_path: Path) -> None:
    given = write_folder(tmp_path / "pets")
    read_kept(cli.store, given, None)
    (entry,) = kept(cli.store)
    typed = ("run", "task=image", f"task.path={given}", "architecture=mlp", "architecture.widths=[8]", "budget.steps=3", *QUIET)
    done = cli(*typed)
    assert f"decoded before: {entry.name}" in " ".join(done.stderr.split())
    assert len(list((cli.store / "runs").glob("2*"))) == 1
    assert entry.name in cli("cache").stdout
    assert "removed 1 of them" in cli("cache", "--clear", "images-pets").stdout
    assert not entry.exists()
    cli(*typed)
