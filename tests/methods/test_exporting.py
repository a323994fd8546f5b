"""A run's weights to a file and back: models that are quantised, sparse or tied, and files that hold no model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from made_runs import CPU, Made, make

from thrifty.errors import BadConfiguration, BadData
from thrifty.formats.exported import read_export, write_export
from thrifty.formats.registry import ALL, FORMATS
from thrifty.formats.safetensors import MANIFEST, SPARSE, WEIGHTS, tensors_of
from thrifty.methods.exporting import export_run, run_from, weights_of
from thrifty.methods.model import load_trained

MLP = ("task=image", "architecture=mlp", "architecture.widths=[64,64]", "optimizer=adam", "budget.steps=3")


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("store"), *MLP)


def compressed(dense: Made, *overrides: str) -> Made:
    return make(dense.path.parents[1], *MLP, *overrides, origin=dense.path)


def same_model(first: Path, second: Path) -> bool:
    one, other = (tensors_of(load_trained(path, CPU).module) for path in (first, second))
    return list(one) == list(other) and all(
        given.dtype is other[name].dtype
        and given.shape == other[name].shape
        and torch.equal(given.reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
        for name, given in one.items()
    )


@pytest.mark.parametrize("name", ALL)
def test_a_run_comes_back_as_the_same_files(name: str, dense: Made, tmp_path: Path) -> None:
    done = export_run(dense.path, name, tmp_path / "file")
    assert done.bytes == (tmp_path / "file").stat().st_size
    assert done.ratio == done.bytes / (dense.path / WEIGHTS).stat().st_size
    count = run_from(tmp_path / "file", tmp_path / "back")
    assert count == len(weights_of(dense.path)[1])
    assert sorted(one.name for one in (tmp_path / "back").iterdir()) == [MANIFEST, WEIGHTS]
    for file in (MANIFEST, WEIGHTS):
        assert (tmp_path / "back" / file).read_bytes() == (dense.path / file).read_bytes()
    assert same_model(dense.path, tmp_path / "back")


@pytest.mark.parametrize("name", [*FORMATS, "npz+shuffle+zstd"])
@pytest.mark.parametrize("quantizer", ["int8_weight", "int8_dynamic", "int4_weight", "int8_static"])
def test_a_quantised_run_comes_back(quantizer: str, name: str, dense: Made, tmp_path: Path) -> None:
    made = compressed(dense, "method=quantize", f"quantizer={quantizer}")
    export_run(made.path, name, tmp_path / "file")
    run_from(tmp_path / "file", tmp_path / "back")
    assert (tmp_path / "back" / MANIFEST).read_bytes() == (made.path / MANIFEST).read_bytes()
    assert same_model(made.path, tmp_path / "back")
    trained = [load_trained(path, CPU).module.eval() for path in (made.path, tmp_path / "back")]
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(trained[0](images), trained[1](images))


def test_a_pruned_run_comes_back_with_its_sparse_file(dense: Made, tmp_path: Path) -> None:
    made = compressed(dense, "method=prune", "sparsity=0.9")
    export_run(made.path, "sparse", tmp_path / "file")
    run_from(tmp_path / "file", tmp_path / "back")
    for file in (MANIFEST, WEIGHTS, SPARSE):
        assert (tmp_path / "back" / file).read_bytes() == (made.path / file).read_bytes()
    (tmp_path / "back" / WEIGHTS).unlink()  # the sparse file is left
    export_run(tmp_path / "back", "npz", tmp_path / "other")
    assert read_export(tmp_path / "other")[1].keys() == read_export(tmp_path / "file")[1].keys()


# -- refused ------------------------------------------------------------------------------------------------------------


def refused(file: Path, directory: Path) -> str:
    before = sorted(os.walk(directory.parent))
    with pytest.raises(BadData) as caught:
        run_from(file, directory)
    message = str(caught.value)
    assert "\n" not in message
    assert ".tmp" not in message
    assert sorted(os.walk(directory.parent)) == before
    return message


@pytest.mark.parametrize("manifest", [{}, {"schema": 1}, {"architecture": {"name": "os.system"}}])
def test_a_file_whose_manifest_is_none(manifest: dict[str, object], tmp_path: Path) -> None:
    write_export(tmp_path / "file", "npz", {"w": torch.ones(1)}, manifest)
    assert "is not a manifest of ours" in refused(tmp_path / "file", tmp_path / "back")


def test_a_manifest_of_a_model_that_is_deeper_than_any(dense: Made, tmp_path: Path) -> None:
    """Its layers alone would take all memory, before anybody looked at its weights."""
    manifest, tensors = weights_of(dense.path)
    architecture = {"name": "gpt", "width": 64, "depth": 10**9, "context": 16}
    write_export(tmp_path / "file", "npz", tensors, {**manifest, "architecture": architecture})
    assert "a depth of 1000000000 is beyond" in refused(tmp_path / "file", tmp_path / "back")


def test_a_file_whose_tensors_are_another_model_s(dense: Made, tmp_path: Path) -> None:
    manifest, tensors = weights_of(dense.path)
    write_export(tmp_path / "file", "torch", {**tensors, "more": torch.ones(1)}, manifest)
    assert "do not fit the model" in refused(tmp_path / "file", tmp_path / "back")


def test_a_file_that_was_cut_off(dense: Made, tmp_path: Path) -> None:
    export_run(dense.path, "hdf5+zstd", tmp_path / "file")
    os.truncate(tmp_path / "file", 1000)
    refused(tmp_path / "file", tmp_path / "back")


def test_a_directory_that_cannot_be_made(dense: Made, tmp_path: Path) -> None:
    export_run(dense.path, "npz", tmp_path / "file")
    message = refused(tmp_path / "file", tmp_path / "no" / "such")
    assert f"there is no folder {tmp_path / 'no'}; make it, or give another" in message


def test_a_directory_that_holds_something_is_left(dense: Made, tmp_path: Path) -> None:
    export_run(dense.path, "npz", tmp_path / "file")
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "mine").touch()
    for place in (tmp_path / "back", tmp_path / "file"):
        with pytest.raises(BadConfiguration, match="is there already"):
            run_from(tmp_path / "file", place)
    assert [one.name for one in (tmp_path / "back").iterdir()] == ["mine"]


def test_an_empty_directory_is_filled(dense: Made, tmp_path: Path) -> None:
    export_run(dense.path, "npz", tmp_path / "file")
    (tmp_path / "back").mkdir()
    run_from(tmp_path / "file", tmp_path / "back")
    assert same_model(dense.path, tmp_path / "back")


def test_a_run_without_a_whole_manifest(dense: Made, tmp_path: Path) -> None:
    from thrifty.identity import manifest_digest

    manifest = json.loads((dense.path / MANIFEST).read_text())
    del manifest["weights"]
    manifest["sha256"] = manifest_digest(manifest)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadData, match="is not a manifest of ours"):
        export_run(tmp_path, "npz", tmp_path / "file")
