"""Weights and their manifest: back to the bit, or refused in one line."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thrifty
from thrifty.config.choice import choice_of
from thrifty.config.compose import compose, plain
from thrifty.config.registry import load as load_choice
from thrifty.config.schema import Config
from thrifty.errors import BadData
from thrifty.formats import safetensors
from thrifty.formats.safetensors import MANIFEST, WEIGHTS
from thrifty.identity import manifest_digest
from thrifty.methods.model import build_model, load_trained, manifest_of
from thrifty.record import config_hash

CPU = torch.device("cpu")
NOT_NUMBERS = torch.tensor([float("nan"), float("inf"), -0.0, 1e-40])


class Tied(nn.Module):
    """Two layers with one weight between them, a buffer, and an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("seen", torch.arange(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(inputs))


def bits(model: nn.Module) -> dict[str, bytes]:
    """The tensors as they lie in memory, so that not-a-number equals itself and -0 not 0."""
    return {name: one.flatten().view(torch.uint8).numpy().tobytes() for name, one in model.state_dict().items()}


def written(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


# -- round trip ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_come_back_to_the_bit_and_tied_ones_tied(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Tied().to(dtype)
    with torch.no_grad():
        model.first.bias.copy_(NOT_NUMBERS)
    size = safetensors.save(tmp_path, model, {"schema": 1})
    with torch.device("meta"):
        back = Tied().to(dtype)
    safetensors.load(tmp_path, safetensors.read_manifest(tmp_path), back, CPU)
    assert bits(back) == bits(model)
    assert {one.dtype for one in back.parameters()} == {dtype}
    assert back.second.weight is back.first.weight
    assert size == (tmp_path / WEIGHTS).stat().st_size
    assert written(tmp_path) == [MANIFEST, WEIGHTS]
    # Tied weights lie in the file once: 16 of them and two biases of 4, three integers, and a header.
    elements = (16 + 4 + 4) * torch.empty(0, dtype=dtype).itemsize + 3 * 8
    header = int.from_bytes((tmp_path / WEIGHTS).read_bytes()[:8], "little")
    assert size == 8 + header + elements


def test_what_was_tied_still_learns_as_one(tmp_path: Path) -> None:
    safetensors.save(tmp_path, Tied(), {})
    with torch.device("meta"):
        back = Tied()
    safetensors.load(tmp_path, safetensors.read_manifest(tmp_path), back, CPU)
    assert len(list(back.parameters())) == 3
    before = back.second.weight.clone()
    back(torch.ones(1, 4)).sum().backward()
    with torch.no_grad():
        assert back.first.weight.grad is not None
        back.first.weight -= back.first.weight.grad
    assert not torch.equal(back.second.weight, before)


def test_views_of_other_strides_are_written_as_they_read(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, bias=False)
    model.weight = nn.Parameter(torch.arange(6.0).view(3, 2).T)
    safetensors.save(tmp_path, model, {})
    with torch.device("meta"):
        back = nn.Linear(3, 2, bias=False)
    safetensors.load(tmp_path, safetensors.read_manifest(tmp_path), back, CPU)
    assert back.weight.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_the_manifest_says_what_the_bytes_must_hash_to(tmp_path: Path) -> None:
    size = safetensors.save(tmp_path, Tied(), {"schema": 1, "shape": {"inputs": 4}})
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    assert manifest["weights"] == {"file": WEIGHTS, "sha256": digest, "bytes": size}
    assert (manifest["schema"], manifest["shape"]) == (1, {"inputs": 4})
    assert safetensors.read_manifest(tmp_path) == manifest


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o022])
def test_others_can_read_the_weights_as_the_umask_has_it(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        safetensors.save(tmp_path, Tied(), {})
    finally:
        os.umask(before)
    assert (tmp_path / WEIGHTS).stat().st_mode & 0o777 == 0o666 & ~mask


# -- a trained model, and what may have become of it --------------------------------------------------------------------


@cache
def composed(*overrides: str) -> Config:
    return compose(["task=tabular", "architecture.widths=[8,4]", *overrides])


class Saved:
    """A run's model in a directory."""

    def __init__(self, directory: Path, *overrides: str) -> None:
        config = composed(*overrides)
        self.directory, self.hash = directory, config_hash(plain(config))
        torch.manual_seed(3)
        self.model = build_model(config.architecture, {"inputs": 3, "outputs": 1}, 0.0)
        self.model.to(load_choice("precision", config.precision.name)(config.precision).weight_dtype)
        state = {"labels": ["no", "yes"], "mean": 0.1}
        manifest = manifest_of(plain(config), self.hash, {"inputs": 3, "outputs": 1}, state)
        safetensors.save(directory, self.model, manifest)

    def manifest(self, change: Callable[[dict[str, Any]], object], sealed: bool = False) -> None:
        """Alter the manifest; `sealed` makes its own hash right again, as whoever means harm would."""
        manifest = json.loads((self.directory / MANIFEST).read_text())
        change(manifest)
        if sealed:
            manifest["sha256"] = manifest_digest(manifest)
        (self.directory / MANIFEST).write_text(json.dumps(manifest))

    def refused(self, expected_hash: str | None = None) -> str:
        with pytest.raises(BadData) as caught:
            load_trained(self.directory, CPU, expected_hash)
        message = str(caught.value)
        assert "\n" not in message
        assert str(self.directory) in message
        assert caught.value.exit_code == 4
        return message


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return Saved(tmp_path)


@pytest.mark.parametrize("precision", [("precision=fp32",), ("precision=bf16",), ("precision=bf16", "precision.weights=bf16")])
def test_a_trained_model_comes_back_with_its_precision(tmp_path: Path, precision: tuple[str, ...]) -> None:
    saved = Saved(tmp_path, *precision)
    trained = load_trained(tmp_path, CPU, saved.hash)
    assert bits(trained.module) == bits(saved.model)
    assert trained.precision.name == precision[0].split("=")[1]
    assert all(one.dtype == trained.precision.weight_dtype and one.requires_grad for one in trained.module.parameters())
    assert trained.manifest["task"]["state"] == {"labels": ["no", "yes"], "mean": 0.1}


@pytest.mark.parametrize("precision", [(), ("precision=bf16", "precision.weights=bf16")])
def test_running_statistics_come_back_to_the_bit_and_go_on_running(tmp_path: Path, precision: tuple[str, ...]) -> None:
    config, shape = plain(composed(*precision)), {"channels": 2, "height": 6, "width": 5, "outputs": 3}
    config["architecture"] = {"name": "resnet", "depth": 8, "memory_format": "channels_last"}
    torch.manual_seed(3)
    model = build_model(choice_of("architecture", config["architecture"]), shape, 0.0)
    model.to(torch.bfloat16 if precision else torch.float32)
    images = torch.randn(7, 2, 6, 5).to(torch.bfloat16 if precision else torch.float32)
    for _ in range(3):
        model(images)
    safetensors.save(tmp_path, model, manifest_of(config, "f" * 64, shape, {}))

    back = load_trained(tmp_path, CPU).module
    assert bits(back) == bits(model)
    assert {name: one.dtype for name, one in back.state_dict().items()} == {
        name: one.dtype for name, one in model.state_dict().items()
    }
    buffers = dict(back.named_buffers())
    assert len(buffers) == 3 * (1 + 6 + 2)  # of the stem, of three blocks' convolutions and of the two shortcuts
    assert int(buffers["stages.1.0.norm2.num_batches_tracked"]) == 3
    assert not any(isinstance(one, nn.Parameter) or one.requires_grad for one in buffers.values())
    assert torch.equal(back.eval()(images), model.eval()(images))
    back.train()(images)
    model.train()(images)
    assert bits(back) == bits(model)
    assert int(back.get_buffer("stages.1.0.norm2.num_batches_tracked")) == 4


def test_a_file_without_the_running_statistics_is_not_the_model_s(tmp_path: Path) -> None:
    class Forgetful(nn.BatchNorm1d):
        def __init__(self) -> None:
            super().__init__(4, track_running_stats=False)

    safetensors.save(tmp_path, Forgetful(), {})
    with torch.device("meta"):
        back = nn.BatchNorm1d(4)
    with pytest.raises(BadData, match="do not fit the model"):
        safetensors.load(tmp_path, safetensors.read_manifest(tmp_path), back, CPU)


@pytest.mark.parametrize("place", [0, 9, -1])
def test_an_altered_byte_of_the_weights(saved: Saved, place: int) -> None:
    path = saved.directory / WEIGHTS
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "the file was altered or truncated" in saved.refused()


@pytest.mark.parametrize("keep", [0, 5, -1])
def test_truncated_weights(saved: Saved, keep: int) -> None:
    path = saved.directory / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    assert "the file was altered or truncated" in saved.refused()


def test_missing_weights(saved: Saved) -> None:
    (saved.directory / WEIGHTS).unlink()
    assert "there is no such file; the run kept no weights, or they were removed" in saved.refused()


def test_a_missing_manifest(saved: Saved) -> None:
    (saved.directory / MANIFEST).unlink()
    assert "cannot be read (No such file or directory)" in saved.refused()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": 1}', "\xff\xfe"])
def test_a_manifest_that_is_none(saved: Saved, content: str) -> None:
    (saved.directory / MANIFEST).write_bytes(content.encode("latin-1"))
    assert MANIFEST in saved.refused()


def test_weights_of_another_model_in_a_file_of_the_same_name(saved: Saved, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Saved(other, "seed=1", "architecture.widths=[8,5]")
    (other / WEIGHTS).replace(saved.directory / WEIGHTS)
    assert "the file was altered" in saved.refused()


def test_a_manifest_of_another_run(saved: Saved) -> None:
    message = saved.refused(expected_hash="f" * 64)
    assert f"is of configuration {saved.hash[:12]}, the record of ffffffffffff; the directory mixes two runs" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["task"]["state"]["labels"].reverse(),
        lambda one: one["task"]["state"].update(mean=0.2),
        lambda one: one["precision"].update(name="bf16"),
        lambda one: one["shape"].update(outputs=2),
        lambda one: one["architecture"].update(widths=[8, 5]),
        lambda one: one.pop("weights"),
        lambda one: one.pop("sha256"),
        lambda one: one.update(more=1),
    ],
)
def test_an_altered_manifest_whatever_was_altered(saved: Saved, change: Callable[[dict[str, Any]], object]) -> None:
    saved.manifest(change)
    assert f"{MANIFEST}: the file was altered" in saved.refused()


def test_a_manifest_written_anew_by_hand_is_the_same_manifest(saved: Saved) -> None:
    saved.manifest(lambda one: None)  # in one line, without the indentation
    assert bits(load_trained(saved.directory, CPU).module) == bits(saved.model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: one["shape"].update(outputs=2), "do not fit the model"),
        (lambda one: one["architecture"].update(widths=[8, 4, 4]), "do not fit the model"),
        (lambda one: one["architecture"].update(widths="wide"), "not a manifest of ours"),
        (lambda one: one["architecture"].update(depth=3), "not a manifest of ours"),
        (lambda one: one["architecture"].update(name="os.system"), "not a manifest of ours"),
        (lambda one: one.update(architecture=7), "not a manifest of ours"),
        (lambda one: one["precision"].update(name="fp3"), "not a manifest of ours"),
        (lambda one: one["shape"].update(inputs="three"), "not a manifest of ours"),
        (lambda one: one.pop("shape"), "not a manifest of ours"),
        (lambda one: one["weights"].pop("sha256"), "not a manifest of ours"),
    ],
)
def test_a_manifest_made_up_with_a_hash_that_fits(saved: Saved, change: Callable[[dict[str, Any]], object], says: str) -> None:
    saved.manifest(change, sealed=True)
    assert says in saved.refused()


def test_weights_made_up_with_a_hash_that_fits(saved: Saved) -> None:
    path = saved.directory / WEIGHTS
    path.write_bytes(b"cos\nsystem\n(S'touch here'\ntR.")  # a pickle, to a reader that took one
    saved.manifest(lambda one: one["weights"].update(sha256=safetensors.sha256(path)), sealed=True)
    assert "holds no weights" in saved.refused()


# -- a full disk --------------------------------------------------------------------------------------------------------


def full_disk(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused_save(directory: Path) -> str:
    with pytest.raises(BadData) as caught:
        safetensors.save(directory, Tied(), {})
    message = str(caught.value)
    assert "\n" not in message
    assert "No space left on device" in message
    assert "free some space or give another store=DIR" in message
    return message


def test_a_disk_that_fills_up_while_the_weights_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        full_disk()

    monkeypatch.setattr(safetensors, "save_file", half)
    refused_save(tmp_path)
    assert written(tmp_path) == []


def test_a_disk_that_turns_out_full_when_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", full_disk)
    refused_save(tmp_path)
    assert written(tmp_path) == []


def test_a_disk_that_has_room_for_the_weights_alone_keeps_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: full_disk() if MANIFEST in path.name else write(path, data))
    refused_save(tmp_path)
    assert written(tmp_path) == []


def test_the_library_that_writes_the_weights_meets_the_end_of_the_room(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a file")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(BadData, match="the weights cannot be written") as caught:
            safetensors.save(tmp_path, nn.Linear(100, 100), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert written(tmp_path) == []


# -- no code in data ----------------------------------------------------------------------------------------------------


def test_nothing_of_ours_reads_or_writes_a_pickle() -> None:
    """A pickle runs what it holds: `torch.load` and its kin appear where torch's own format is read, told to read weights only, and
    nowhere else; and numpy is never told to allow them."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for file in Path(thrifty.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not forbidden & {one.name.split(".")[0] for one in node.names}, file
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, file
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("torch.load", "torch.save"):
                    assert file.name == "torch_file.py", f"{file}: {called}"
                    told = [ast.unparse(one.value) for one in node.keywords if one.arg == "weights_only"]
                    assert told == ["True"] or called == "torch.save"
                assert called not in ("pd.read_pickle", "eval", "exec"), f"{file}: {called}"
                allowed = [ast.unparse(one.value) for one in node.keywords if one.arg == "allow_pickle"]
                assert allowed in ([], ["False"]), file
