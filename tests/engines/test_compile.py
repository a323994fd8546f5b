"""engine=compile: what it needs, that shapes do not meddle with each other, and a whole run with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn

from chosen import chosen
from conftest import Cli
from thrifty.config.registry import load
from thrifty.engines import compile as compile_engine
from thrifty.engines.compiler import why_no_compiler
from thrifty.engines.half_written import remove_half_written
from thrifty.measure.recompilation import graphs_compiled

NEEDS_COMPILER = pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler()))
POSIX = pytest.mark.skipif(os.name != "posix", reason="writes programs as scripts")


def programs(directory: Path, *names: str) -> str:
    """A PATH with programs that do nothing, and do it well."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\nexit 0\n")
        (directory / name).chmod(0o755)
    return str(directory)


@POSIX
@pytest.mark.parametrize(
    ("there", "compiler", "expected"),
    [
        ((), None, "needs a C++ compiler (g++ or clang++), none was found; install one"),
        (("g++", "clang++"), "nope", "needs a C++ compiler (g++ or clang++), and CXX=nope is none that runs; set CXX to one"),
        (("g++", "clang++"), "", "and CXX= is none that runs"),
        (("g++", "clang++"), None, "needs the command openssl"),
        (("g++", "clang++", "openssl"), None, None),
        (("other", "openssl"), "other", None),
    ],
)
def test_what_is_missing_is_said(
    there: tuple[str, ...], compiler: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", *there))
    monkeypatch.delenv("CXX", raising=False)
    if compiler is not None:
        monkeypatch.setenv("CXX", compiler)
    found = why_no_compiler()
    assert found is None if expected is None else expected in str(found)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="elsewhere another compiler is the usual one")
def test_the_compiler_it_would_not_look_for_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", programs(tmp_path, "clang++"))
    assert why_no_compiler() == "needs a C++ compiler and looks for g++, which is not here; clang++ is: set CXX=clang++"


@POSIX
def test_missing_headers_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "include"))
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", "g++", "clang++", "openssl"))
    monkeypatch.delenv("CXX", raising=False)
    assert "there is no" in str(why_no_compiler())
    assert "apt install python3-dev" in str(why_no_compiler())


def test_a_gpu_without_triton_and_a_mac_s_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = compile_engine.build(chosen("engine=compile"))
    monkeypatch.setattr(compile_engine.importlib.util, "find_spec", lambda name: None)
    assert "pip install triton" in str(engine.unsupported("cuda"))
    assert "device=mps" in str(engine.unsupported("mps"))


def test_the_mode_is_torch_compile_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: asked.append(options) or function)
    for mode in ("default", "reduce-overhead", "max-autotune"):
        compile_engine.build(chosen("engine=compile", mode=mode)).prepare(nn.Identity(), torch.ones(1))
    assert asked == [
        {"dynamic": False, "fullgraph": True, "mode": mode} for mode in ("default", "reduce-overhead", "max-autotune")
    ]


def test_shapes_do_not_meddle_with_each_other_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch itself gives up after the eighth that one function is compiled for."""
    really = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, mode, **options: really(function, backend="eager", **options))
    engine, module = compile_engine.build(chosen("engine=compile")), nn.Linear(3, 1).eval()
    prepared = []
    with torch.inference_mode():
        for size in range(1, 13):
            inputs = torch.ones(size, 3)
            forward = engine.prepare(module, inputs)
            before = graphs_compiled()
            forward(inputs)
            assert graphs_compiled() - before == 1
            prepared.append((forward, inputs))
        before = graphs_compiled()
        for forward, inputs in prepared:
            assert torch.equal(forward(inputs), module(inputs))
        assert graphs_compiled() == before


@POSIX
def test_without_a_compiler_a_run_is_refused_before_anything_is_written(cli: Cli) -> None:
    line = cli.refused("run", "task=tabular", "engine=compile", "logger=none", code=3, CXX="/no/such/compiler")
    assert line == (
        "engine=compile: needs a C++ compiler (g++ or clang++), and CXX=/no/such/compiler is none that runs; "
        "set CXX to one, or unset it, or take engine=eager"
    )
    assert list(cli.cwd.iterdir()) == []


def test_a_mode_there_is_not_is_refused(cli: Cli) -> None:
    assert "one of default, reduce-overhead, max-autotune" in cli.refused("run", "engine=compile", "engine.mode=fast", code=2)
    assert "engine.mode" in cli.refused("run", "engine.mode=default", code=2)


@pytest.mark.slow
@NEEDS_COMPILER
def test_a_run_tells_what_compiling_cost_and_is_compared_compiled(cli: Cli, tmp_path: Path) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    where = {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ours = ("task=tabular", "engine=compile", "budget.steps=20", "measure.seconds=0.2", "logger=none")
    done = cli("run", *ours, limit=600, **where)
    assert "infer/compile_cold_s" in done.stdout
    assert "predicting by compile" in done.stdout
    assert "semaphore" not in done.stderr
    record = cli.record()
    metrics = record["metrics"]
    assert 0.5 < metrics["infer/compile_warm_s"]["value"] < metrics["infer/compile_cold_s"]["value"]
    assert metrics["infer/first_call_s"]["value"] == pytest.approx(metrics["infer/compile_warm_s"]["value"], rel=0.01)
    assert 0 <= metrics["infer/max_error"]["value"] < 1e-5
    assert metrics["infer/max_error"]["n"] == 2
    assert "recompiled" not in record["flags"]
    assert record["environment"]["inductor"]["graphs_compiled"] == 2
    assert not [one for one in temporary.iterdir() if one.name.startswith("thrifty-")]

    name = cli.runs()[0].name
    done = cli("compare", name, name, "--metric", "infer/latency_ms", "--pairs", "2", "--json", limit=300, **where)
    (found,) = json.loads(done.stdout)["findings"]
    assert found["change"]["n"] == 2
    assert "recompiled" not in found["flags"]
    inductor = found["settings"]["inductor"]
    assert (inductor["graphs_from_cache"], inductor["graphs_compiled"], inductor["compile_threads"]) == (1, 0, 1)
    assert "semaphore" not in done.stderr


@NEEDS_COMPILER
@pytest.mark.parametrize("scheme", ["int8_dynamic", "int8_weight"])
def test_a_single_row_of_integers(scheme: str) -> None:
    """As a token is by itself; inductor gives it strides that oneDNN reads other memory by."""
    torch.manual_seed(0)
    quantizer = load("quantizer", scheme)(chosen(f"quantizer={scheme}"))
    layer = quantizer.converted(nn.Linear(128, 32)).eval()
    inputs = torch.randn(1, 1, 128)
    with torch.inference_mode():
        expected = layer(inputs)
        found = compile_engine.Compile("default").prepare(layer, (inputs,))(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


_COMPILES = """
import torch
from torch import nn
from thrifty.engines.compile import Compile

model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()
inputs = torch.ones(4, 8)
with torch.inference_mode():
    assert torch.allclose(Compile("default").prepare(model, inputs)(inputs), model(inputs), atol=1e-5)
"""


@NEEDS_COMPILER
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries have another form")
def test_a_library_that_was_left_half_written_is_made_anew(tmp_path: Path) -> None:
    """As a process leaves it that is killed while it compiles."""

    def compiles() -> Path:
        cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _COMPILES], env={**os.environ, **cache}, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        (library,) = tmp_path.glob("*/*.main.so")
        return library

    library = compiles()
    whole = library.read_bytes()
    library.write_bytes(whole[:4000])
    assert len(compiles().read_bytes()) == len(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere libraries have another form")
def test_what_is_not_whole_is_deleted_unless_somebody_is_writing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.codecache import get_lock_dir
    from torch.utils._filelock import FileLock

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    whole = Path(torch.__file__).with_name("lib").joinpath("libtorch_global_deps.so").read_bytes()
    (tmp_path / "ab").mkdir()
    kept = {"whole": whole, "written": whole[:4000], "another": b"no library" * 10}
    deleted = {"empty": b"", "beginning": whole[:40], "half": whole[: len(whole) // 2], "almost": whole[:-1]}
    for name, content in (kept | deleted).items():
        (tmp_path / "ab" / f"{name}.main.so").write_bytes(content)
    with FileLock(str(Path(get_lock_dir()) / "written.lock")):
        remove_half_written()
    assert {one.name.partition(".")[0] for one in tmp_path.glob("ab/*")} == set(kept)
    remove_half_written()
    assert {one.name.partition(".")[0] for one in tmp_path.glob("ab/*")} == {"whole", "another"}
