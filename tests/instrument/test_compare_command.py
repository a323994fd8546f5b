"""`thrifty compare` as its user types it, on finished runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from conftest import Cli, FinishedRun
from thrifty.instrument.arms import Run, specs_of


def test_two_runs_of_one_model_do_not_differ_and_sizes_are_exact(cli: Cli, tabular_run: FinishedRun) -> None:
    tabular_run.copied_to(cli.store)
    name = tabular_run.path.name
    done = cli("compare", name, name, "--json", "--pairs", "2")
    found = {one["metric"]: one for one in json.loads(done.stdout)["findings"]}
    assert list(found) == ["quality/accuracy", "infer/latency_ms", "size/file_mib", "size/parameters"]
    assert found["size/parameters"]["verdict"] == "the same"
    assert found["quality/accuracy"]["change"]["value"] == 0
    assert not found["quality/accuracy"]["claimed"]
    timed = found["infer/latency_ms"]
    assert timed["change"]["n"] == 2
    assert len(timed["samples"]) == 2
    assert timed["settings"]["threads"] >= 1
    assert 0.2 < 1 + timed["change"]["value"] < 5


def test_a_known_difference_is_told_and_fails_the_guard(cli: Cli, tabular_run: FinishedRun) -> None:
    """A batch of 64 takes longer than one of 1, but each example far less: rates are compared by example."""
    tabular_run.copied_to(cli.store)
    larger = cli.store / "runs" / "larger"
    shutil.copytree(tabular_run.path, larger)
    record = json.loads((larger / "result.json").read_text())
    record["data"]["batch_size"] = 2048
    (larger / "result.json").write_text(json.dumps(record))
    name = tabular_run.path.name
    given = ("--metric", "infer/samples_per_s", "--fail-if", "infer/samples_per_s > +3%")
    done = cli("compare", name, str(larger), *given, code=1)
    assert "second higher: better" in done.stdout
    assert "failed: infer/samples_per_s > +3%" in done.stderr


def test_against_a_kept_record(cli: Cli, tabular_run: FinishedRun) -> None:
    tabular_run.copied_to(cli.store)
    kept = cli.cwd / "baseline.json"
    shutil.copy(tabular_run.path / "result.json", kept)
    done = cli("compare", tabular_run.path.name, "--against", str(kept))
    assert "much weaker than pairs" in done.stdout
    assert "+0.0 %" in done.stdout


def test_what_cannot_be_compared_is_refused_in_a_line(cli: Cli, tabular_run: FinishedRun) -> None:
    tabular_run.copied_to(cli.store)
    name = tabular_run.path.name
    assert "there is no such metric" in cli.refused("compare", name, name, "--metric", "infer/latency", code=2)
    assert "is not a condition" in cli.refused("compare", name, name, "--fail-if", "faster", code=2)
    assert "no length of time" in cli.refused("compare", name, name, "--budget", "soon", code=2)
    assert "at least 2" in cli.refused("compare", name, name, "--pairs", "1", code=2)
    assert "RUN_A RUN_B, or RUN_A --against" in cli.refused("compare", name, code=2)
    assert "no such run" in cli.refused("compare", name, "nothing", code=2)
    assert "no such file" in cli.refused("compare", name, "--against", "no.json", code=2)


def test_prompts_and_tokens_are_run_by_the_run_s_engine() -> None:
    record = {"environment": {}, "config_hash": "", "config": {"engine": {"name": "compile", "mode": "default"}}}
    compiled, early = Run(Path("compiled"), record), Run(Path("early"), {**record, "config": {"engine": "eager"}})
    assert early.engine == {"name": "eager"}
    for metric in ("infer/latency_ms", "infer/prefill_ms", "infer/decode_ms"):
        assert [one.options["engine"] for one in specs_of(metric, (compiled, early))] == [compiled.engine, early.engine]


def test_a_model_whose_file_was_altered_is_not_compared_and_the_rest_is(cli: Cli, tabular_run: FinishedRun) -> None:
    tabular_run.copied_to(cli.store)
    other = cli.store / "runs" / "other"
    shutil.copytree(tabular_run.path, other)
    (other / "model.safetensors").write_bytes(b"nonsense")
    done = cli("compare", tabular_run.path.name, str(other), "--pairs", "2")
    assert "the second run: error: BadData" in done.stdout
    assert "size/parameters" in done.stdout


def test_verify_and_doctor_say_what_they_take(cli: Cli) -> None:
    assert "must be 1 to" in cli.refused("verify", "--trials", "0", code=2)
    assert "must be 1 to" in cli.refused("verify", "--threads", "100000", code=2)


def test_loading_and_memory_compare_in_fresh_interpreters_and_tokens_only_where_there_are_some(
    cli: Cli, tabular_run: FinishedRun
) -> None:
    tabular_run.copied_to(cli.store)
    name = tabular_run.path.name
    metrics = ("--metric", "infer/peak_host_mib", "--metric", "infer/load_s", "--metric", "infer/decode_ms")
    done = cli("compare", name, name, *metrics, "--pairs", "2", "--json")
    memory, load, tokens = json.loads(done.stdout)["findings"]
    assert memory["change"]["n"] == load["change"]["n"] == 2
    assert abs(memory["change"]["value"]) < 0.03, "the same model needs the same memory"
    assert tokens["how"].startswith("the first run: unsupported:")
    assert load["conditions"]["canary_after"]["value"] > 0
