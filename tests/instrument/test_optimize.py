"""method=optimize: who wins, what is listed and why, on stand-ins for arms; and from the command line to a run that predicts."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli, FinishedRun
from thrifty import cache
from thrifty.config.compose import compose, plain
from thrifty.config.schema import Config
from thrifty.execution import device
from thrifty.execution.arms import ArmFailed
from thrifty.execution.experiment import Found
from thrifty.execution.judge import Judge, Judged, NotJudged
from thrifty.instrument import candidate_weights, finalists, optimize
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.finals import Finals
from thrifty.instrument.look import Look
from thrifty.instrument.looks import Looks, Weights
from thrifty.instrument.pairs import PairFailed
from thrifty.instrument.race import Lost, Standing
from thrifty.measure.comparison import Comparison
from thrifty.measure.loss_bound import QualityLoss
from thrifty.measure.statistics import Interval
from thrifty.metrics import measured
from thrifty.record import usable_cores
from thrifty.report.advice import next_steps
from thrifty.store import read_record

TYPED = ("task=tabular", "threads=1", "method=optimize", "method.precisions=[fp32]", *QUIET)
BASELINE = Candidate("none", "fp32", "eager", 1, 1)
NOTHING = QualityLoss(0.0, -0.1, 0.1, 100)


def compared(ratio: float, half: float = 0.01) -> Comparison:
    return Comparison(Interval(ratio, ratio * (1 - half), ratio * (1 + half), 6), halves_agree=True, noise_floor=0.0)


class StandIns:
    """Times by (quantizer, engine), over the dense model's, instead of arms; losses by quantizer instead of a judge."""

    def __init__(self, times: Mapping[tuple[str, str], float], losses: Mapping[str, QualityLoss | NotJudged]) -> None:
        self.times, self.losses = {("none", "eager"): 1.0, **times}, losses
        self.looked: list[Candidate] = []
        self.in_full: list[Candidate] = []
        self.held_to_eager: list[bool] = []
        self.together: list[tuple[Candidate, Candidate]] = []
        self.failing: dict[Candidate, tuple[str, str]] = {}
        self.cut_short = False
        self.memory_for = math.inf
        """Arms that may be alive together, beyond which it is the dense model that dies."""

    def time(self, one: Candidate) -> float:
        return self.times[one.quantizer, one.engine]

    def put_in(self, patch: pytest.MonkeyPatch) -> None:
        def look(
            looks: Any, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]
        ) -> Look:
            self.looked.append(challenger)
            if math.isnan(self.time(challenger)):
                raise Lost("unsupported", "no kernel for it")
            return Look(math.log(self.time(challenger) / self.time(champion)), 0.01)

        def loss(judge: Judge, judged: Judged, patience: float) -> QualityLoss:
            found = self.losses.get(Path(judged.run).name, NOTHING)
            if isinstance(found, NotJudged):
                raise found
            return found

        def measure(first: tuple[Candidate, bool], second: tuple[Candidate, bool], *_: Any) -> Any:
            self.in_full.append(second[0])
            self.held_to_eager.append(second[1])
            if math.isnan(self.time(second[0])):
                raise PairFailed(1, "unsupported", "no kernel for it")
            return type("Measured", (), {"comparison": compared(self.time(second[0]) / self.time(first[0]))})

        cut_short = self.cut_short

        class Together:
            """Nobody is beaten who takes at most twice as long as the fastest."""

            def __init__(self, specs: list[tuple[Candidate, bool]], *_: Any, **__: Any) -> None:
                self.some = [one for one, _ in specs]
                self.left: list[int] = []
                self.failed: dict[int, ArmFailed] = {}
                self.beaten: dict[int, tuple[int, float]] = {}
                self.cut_short = cut_short

            def run(rounds) -> None:
                if len(rounds.some) > self.memory_for:
                    rounds.failed = {0: ArmFailed("oom", "no memory")}
                    return
                rounds.failed = {one: ArmFailed(*self.failing[of]) for one, of in enumerate(rounds.some) if of in self.failing}
                left = [one for one in range(1, len(rounds.some)) if one not in rounds.failed]
                fastest = min(left, key=lambda one: self.time(rounds.some[one]), default=0)
                for one in left:
                    times = self.time(rounds.some[one]) / self.time(rounds.some[fastest])
                    rounds.beaten |= {one: (fastest, times)} if times > 2 else {}
                rounds.left = [one for one in left if one not in rounds.beaten]

            def comparison(rounds, first: int, second: int) -> Comparison | None:
                if {0, first, second} & set(rounds.failed):
                    return None
                self.together.append((rounds.some[first], rounds.some[second]))
                return compared(self.time(rounds.some[second]) / self.time(rounds.some[first]))

        class Renewed:
            renew = warm_up = staticmethod(lambda *_: None)

        patch.setattr(Looks, "look", look)
        patch.setattr(Looks, "seconds_of", lambda looks, candidate: 1e-3)
        patch.setattr(Judge, "loss", loss)
        patch.setattr(finalists, "measure", measure)
        patch.setattr(finalists, "Rounds", Together)
        patch.setattr(optimize, "fork_server", Renewed)
        patch.setattr(optimize._Search, "_prepare_arms", lambda search: Pairs)
        patch.setattr(optimize._Search, "_file", lambda search, one: 1.0 if one.candidate.quantizer == "none" else 0.3)


class Pairs:
    """Stands for arms: the candidates themselves."""

    together = staticmethod(lambda some, held_to_eager=False: [(one, held_to_eager) for one in some])


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tabular_run: FinishedRun) -> Callable[..., tuple[Found, dict[str, Any]]]:
    """What a search finds, and its rows by name."""

    def search(stand_ins: StandIns, *overrides: str) -> tuple[Found, dict[str, Any]]:
        stand_ins.put_in(monkeypatch)
        record = tabular_run.record

        def weights(quantizer: str, *_: Any) -> Weights | tuple[str, str]:
            if quantizer == "int8_static":
                return "unsupported", "no layer of the model can be converted"
            return Weights(tabular_run.path.parent / quantizer, record["config_hash"])

        monkeypatch.setattr(optimize, "quantised", weights)
        typed = [*TYPED, f"store={tabular_run.store}", *overrides]
        done = optimize.search(compose(typed), typed, tabular_run.path, lambda sentence: None)
        assert done.beginning.search is not None
        rows = {f"{row['quantizer']} {row['engine']} {row['threads']}": row for row in done.beginning.search["rows"]}
        return done, rows

    return search


ENGINES = "method.engines=[eager,compile]"
TWO = "method.quantizers=[none,int8_dynamic]"


def test_the_fastest_within_the_bound_wins(found: Any) -> None:
    times = {("int8_dynamic", "eager"): 0.6, ("none", "compile"): 0.8, ("int8_dynamic", "compile"): 0.4}
    done, rows = found(StandIns(times, {}), ENGINES, TWO)
    assert rows["int8_dynamic compile 1"]["status"] == "winner"
    assert rows["int8_dynamic compile 1"]["ratio"] == pytest.approx(0.4)
    assert rows["none eager 1"]["status"] == "baseline"
    assert rows["none compile 1"]["status"] == "dropped"
    assert "2.00 times as long" in rows["none compile 1"]["why"]
    config = done.config
    assert (config.engine.name, config.quantizer.name, config.precision.name) == ("compile", "int8_dynamic", "fp32")
    assert done.beginning.compressed.name == "int8_dynamic"
    assert done.beginning.search["flags"] == []
    assert (
        "int8_dynamic fp32 compile, 1 thread, batch 1 takes 0.40 (0.40 to 0.40) times the time"
        in done.beginning.search["sentence"]
    )


def test_what_loses_too_much_is_not_looked_at(found: Any) -> None:
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.1, ("none", "compile"): 0.8}, {"int8_dynamic": QualityLoss(2, 1, 3, 99)})
    done, rows = found(stand_ins, ENGINES, TWO)
    assert rows["none compile 1"]["status"] == "winner"
    assert rows["int8_dynamic eager 1"]["status"] == rows["int8_dynamic compile 1"]["status"] == "beyond the bound"
    assert "loses 2.00 points on validation (1.00 to 3.00, paired over 99 examples)" in rows["int8_dynamic eager 1"]["why"]
    assert {one.quantizer for one in stand_ins.looked} == {"none"}
    assert done.beginning.compressed is None


@pytest.fixture
def with_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrifty.engines.onnxruntime.OnnxRuntime.unsupported", lambda self, device: None)


@pytest.mark.usefixtures("with_onnxruntime")
@pytest.mark.parametrize("exhaustive", [False, True])
@pytest.mark.parametrize("loses", ["eager", "onnxruntime"])
def test_an_engine_that_computes_in_its_own_way_is_judged_by_its_own_predictions(
    loses: str, exhaustive: bool, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by nothing else, whatever was judged before: that PyTorch loses too much is no reason against it."""
    times = {("int8_dynamic", "onnxruntime"): 0.5, ("none", "onnxruntime"): 0.9, ("int8_dynamic", "eager"): 0.55}
    stand_ins, judged = StandIns(times, {}), []
    put_in = StandIns.put_in

    def by_engine(self: StandIns, patch: pytest.MonkeyPatch) -> None:
        put_in(self, patch)

        def loss(judge: Judge, one: Judged, patience: float) -> QualityLoss:
            judged.append(one.engine["name"])
            return QualityLoss(9, 8, 10, 99) if one.engine["name"] == loses else NOTHING

        patch.setattr(Judge, "loss", loss)

    monkeypatch.setattr(StandIns, "put_in", by_engine)
    _, rows = found(
        stand_ins, "method.engines=[eager,onnxruntime]", TWO, f"method.exhaustive={exhaustive}", "method.threads=[1,2]"
    )
    wins = "eager" if loses == "onnxruntime" else "onnxruntime"
    assert sorted(judged) == ["eager", "onnxruntime"], "once for any number of threads"
    for threads in (1, 2):
        assert rows[f"int8_dynamic {loses} {threads}"]["status"] == "beyond the bound"
        assert rows[f"int8_dynamic {wins} {threads}"]["status"] in ("winner", "finalist")
    looked = [one for one in stand_ins.looked if (one.quantizer, one.engine) == ("int8_dynamic", loses)]
    assert len(looked) == (0 if exhaustive or loses == "eager" else 1), "nobody looks at what is known to lose too much"


def test_nothing_within_the_bound_leaves_the_dense_model(found: Any) -> None:
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.1}, {"int8_dynamic": QualityLoss(2, 1, 3, 99)})
    done, rows = found(stand_ins, "method.engines=[eager]", TWO)
    assert [one["status"] for one in rows.values()] == ["baseline", "beyond the bound"]
    assert done.beginning.search["flags"] == ["nothing_better"]
    assert "nothing that was tried is better" in done.beginning.search["sentence"]
    assert (done.config.engine.name, done.config.quantizer, done.beginning.compressed) == ("eager", None, None)


def test_nothing_supported_leaves_the_dense_model_and_every_reason(found: Any) -> None:
    done, rows = found(
        StandIns({("int8_dynamic", "eager"): math.nan}, {}),
        "method.engines=[eager,semi_structured]",
        "method.quantizers=[int8_static,int8_dynamic]",
    )
    assert {one["status"] for one in rows.values()} == {"baseline", "unsupported"}
    assert rows["int8_static eager 1"]["why"] == "no layer of the model can be converted"
    assert rows["int8_dynamic eager 1"]["why"] == "no kernel for it"
    assert "engine=semi_structured" in rows["int8_dynamic semi_structured 1"]["why"]
    assert done.beginning.search["flags"] == ["nothing_tried"]


def test_a_precision_that_the_device_has_not_is_refused_before_it_is_tried(found: Any) -> None:
    stand_ins = StandIns({}, {})
    _, rows = found(stand_ins, "method.engines=[eager]", "method.quantizers=[none]", "method.precisions=[fp16]")
    assert rows["none eager 1"]["status"] == "unsupported"
    assert rows["none eager 1"]["why"].startswith("precision=fp16: products are tens to hundreds of times slower")
    assert stand_ins.looked == []


def test_it_goes_by_the_device_asked_for_whatever_the_dense_model_was_trained_on(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_machine(path: Path) -> dict[str, Any]:
        record = copy.deepcopy(read_record(path))
        record["environment"]["device"] = "cuda"
        return record

    monkeypatch.setattr(optimize, "read_record", of_another_machine)
    times = {("none", "onnxruntime"): 0.5}
    _, rows = found(StandIns(times, {}), "method.engines=[onnxruntime]", "method.quantizers=[none]", "device=cpu")
    assert rows["none onnxruntime 1"]["status"] == "winner"


def test_who_measures_beside_it_costs_it_no_time(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Beside:
        @contextlib.contextmanager
        def working(self) -> Iterator[None]:
            now[0] += 100.0
            yield

        alone = working

    monkeypatch.setattr(optimize.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(optimize, "turns", Beside)
    done, rows = found(StandIns({("int8_dynamic", "eager"): 0.5}, {}), "method.engines=[eager]", TWO, "method.seconds=30")
    assert rows["int8_dynamic eager 1"]["status"] == "winner"
    assert done.beginning.search["seconds"] == 0


def test_a_precision_that_the_device_has_not_is_not_the_dense_model_s(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of one that was trained on a GPU."""

    def of_a_gpu(path: Path) -> dict[str, Any]:
        record = copy.deepcopy(read_record(path))
        record["environment"]["device"] = "cuda"
        record["config"]["precision"] = plain(compose(["precision=fp16"]).precision)
        return record

    monkeypatch.setattr(optimize, "read_record", of_a_gpu)
    done, rows = found(StandIns({("int8_dynamic", "eager"): 0.5}, {}), "method.engines=[eager]", TWO, "device=cpu")
    assert (rows["none eager 1"]["precision"], rows["none eager 1"]["status"]) == ("fp32", "baseline")
    assert rows["int8_dynamic eager 1"]["status"] == "winner"
    assert done.config.precision.name == "fp32"


def test_weights_are_made_in_the_precision_of_the_dense_model(
    tabular_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Config] = []

    def before(config: Config, dense: Path, tell: Any) -> Path:
        wanted.append(config)
        return dense

    monkeypatch.setattr(candidate_weights, "compressed_before", before)
    typed = [*TYPED, "precision=fp32", f"store={tabular_run.store}"]
    for precision in ({"name": "fp32"}, {"name": "bf16", "weights": "bf16"}):
        candidate_weights.quantised(
            "int8_weight", compose(typed), typed, tabular_run.path, precision, [], lambda sentence: None
        )
    assert [plain(one.precision) for one in wanted] == [{"name": "fp32"}, {"name": "bf16", "weights": "bf16"}]


def test_what_device_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(TYPED)
    monkeypatch.setattr(optimize, "visible_gpus", lambda: ())
    monkeypatch.setattr(device, "available_devices", lambda: ["cuda", "cpu"])
    assert optimize._device(config, "cpu") == ("cpu" if sys.platform != "darwin" else "cuda")
    assert optimize._device(config, "cuda") == "cuda"
    monkeypatch.setattr(optimize, "visible_gpus", lambda: ("0",))
    assert optimize._device(config, "cpu") == "cuda"
    assert optimize._device(compose([*TYPED, "device=cpu"]), "cuda") == "cpu"


def test_no_time_leaves_the_dense_model_and_says_so(found: Any) -> None:
    stand_ins = StandIns({}, {})
    done, rows = found(stand_ins, ENGINES, TWO, "method.seconds=1e-6")
    assert {one["status"] for one in rows.values()} == {"baseline", "not tried"}
    assert set(done.beginning.search["flags"]) == {"nothing_tried", "search_cut_short"}
    assert stand_ins.looked == []
    assert "nothing was tried" in done.beginning.search["sentence"]


def test_time_that_is_spent_before_the_dense_model_could_be_timed_is_told_as_such(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(looks: Any, candidate: Candidate) -> float:
        raise Lost("not tried", "the time was spent before it was ready")

    put_in = StandIns.put_in

    def put_in_late(stand_ins: StandIns, patch: pytest.MonkeyPatch) -> None:
        put_in(stand_ins, patch)
        patch.setattr(Looks, "seconds_of", late)

    monkeypatch.setattr(StandIns, "put_in", put_in_late)
    done, rows = found(StandIns({}, {}), ENGINES, TWO)
    assert {one["status"] for one in rows.values()} == {"baseline", "not tried"}
    assert "nothing_tried" in done.beginning.search["flags"]


@pytest.mark.parametrize(
    ("flags", "statuses", "advised"),
    [
        (["nothing_tried", "search_cut_short"], ["not tried"], ["method.seconds=80"]),
        (["search_cut_short"], ["winner", "not tried"], ["method.seconds=10"]),
        (["nothing_better"], ["beyond the bound"], ["max_quality_loss=2"]),
        (["nothing_better"], ["finalist"], []),
    ],
)
def test_what_is_advised_after_a_search(
    flags: list[str], statuses: list[str], advised: list[str], tabular_run: FinishedRun
) -> None:
    record = copy.deepcopy(tabular_run.record)
    record["config"] |= {
        "method": {"name": "optimize", "seconds": 5.0}, "objective": {"name": "latency"}, "max_quality_loss": 1.0,
    }  # fmt: skip
    record["metrics"]["compress/time_s"] = measured(18.2)
    record |= {"flags": flags, "optimize": [{"status": one} for one in statuses]}
    commands = [command for command, _ in next_steps(record)][:-1]
    found = [one for command in commands for one in command.split() if one.startswith(("method.seconds", "max_quality_loss"))]
    assert found == advised


def test_who_is_beaten_where_all_are_measured_together_is_dropped(found: Any) -> None:
    """Looks said otherwise: by its look alone it would have won."""
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.3, ("none", "compile"): 0.7, ("int8_dynamic", "compile"): 0.65}, {})
    looks = {("int8_dynamic", "eager"): 0.41, ("none", "compile"): 0.40, ("int8_dynamic", "compile"): 0.42}
    put_in = stand_ins.put_in

    def with_other_looks(patch: pytest.MonkeyPatch) -> None:
        put_in(patch)

        def look(_: Any, champion: Candidate, challenger: Candidate, *__: Any) -> Look:
            times = {("none", "eager"): 1.0, **looks}
            return Look(
                math.log(times[challenger.quantizer, challenger.engine] / times[champion.quantizer, champion.engine]), 0.01
            )

        patch.setattr(Looks, "look", look)

    stand_ins.put_in = with_other_looks  # pyright: ignore[reportAttributeAccessIssue]
    _, rows = found(stand_ins, ENGINES, TWO)
    assert rows["int8_dynamic eager 1"]["status"] == "winner"
    beaten = rows["none compile 1"]
    assert (beaten["status"], beaten["ratio"], beaten["in_full"]) == ("dropped", 0.7, True)
    assert beaten["why"] == "measured together, 2.33 times as long as int8_dynamic fp32 eager, 1 thread, batch 1"


def test_who_fails_where_all_are_measured_together_is_told_and_the_others_go_on(found: Any) -> None:
    times = {("int8_dynamic", "eager"): 0.40, ("none", "compile"): 0.42, ("int8_dynamic", "compile"): 0.44}
    stand_ins = StandIns(times, {})
    stand_ins.failing = {Candidate("int8_dynamic", "fp32", "eager", 1, 1): ("error", "no luck")}
    _, rows = found(stand_ins, ENGINES, TWO)
    assert (rows["int8_dynamic eager 1"]["status"], rows["int8_dynamic eager 1"]["why"]) == ("failed", "no luck")
    assert rows["none compile 1"]["status"] == "winner"


def test_when_the_dense_model_fails_beside_them_nobody_wins(found: Any) -> None:
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.40}, {})
    stand_ins.failing = {BASELINE: ("error", "no luck")}
    done, rows = found(stand_ins, "method.engines=[eager]", TWO)
    assert rows["int8_dynamic eager 1"]["status"] == "failed"
    assert rows["int8_dynamic eager 1"]["why"] == "the dense model, beside which it was measured: no luck"
    assert done.beginning.compressed is None


def test_fewer_are_measured_together_where_memory_does_not_hold_them_all(found: Any) -> None:
    times = {("int8_dynamic", "eager"): 0.40, ("none", "compile"): 0.43, ("int8_dynamic", "compile"): 0.42}
    stand_ins = StandIns(times, {})
    stand_ins.memory_for = 2
    _, rows = found(stand_ins, ENGINES, TWO)
    assert rows["int8_dynamic eager 1"]["status"] == "winner"
    assert (rows["int8_dynamic compile 1"]["status"], rows["none compile 1"]["status"]) == ("dropped", "dropped")
    assert rows["int8_dynamic compile 1"]["why"] == "memory does not hold all finalists together, and 1 others were faster"
    assert rows["none compile 1"]["why"] == "memory does not hold all finalists together, and 2 others were faster"


def test_finals_that_the_time_ended_are_told(found: Any) -> None:
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.5}, {})
    stand_ins.cut_short = True
    done, rows = found(stand_ins, "method.engines=[eager]", TWO)
    assert rows["int8_dynamic eager 1"]["status"] == "winner"
    assert done.beginning.search["flags"] == ["search_cut_short"]


def test_what_cannot_be_judged_is_told_and_ends_nothing(found: Any) -> None:
    stand_ins = StandIns({("none", "compile"): 0.5}, {"int8_dynamic": NotJudged("error", "ValueError: no")})
    _, rows = found(stand_ins, ENGINES, TWO)
    assert (rows["int8_dynamic eager 1"]["status"], rows["int8_dynamic eager 1"]["why"]) == ("failed", "ValueError: no")
    assert rows["none compile 1"]["status"] == "winner"


def test_exhaustive_measures_everything_in_full_whatever_the_time(found: Any) -> None:
    times = {("int8_dynamic", "eager"): 5.0, ("none", "compile"): 0.8, ("int8_dynamic", "compile"): 0.4}
    stand_ins = StandIns(times, {})
    _, rows = found(stand_ins, ENGINES, TWO, "method.exhaustive=true", "method.seconds=1e-6")
    assert stand_ins.looked == []
    assert len(stand_ins.in_full) >= 3
    assert all(stand_ins.held_to_eager), "no look has done it"
    assert all(one["in_full"] for one in rows.values())
    assert rows["int8_dynamic compile 1"]["status"] == "winner"
    assert rows["int8_dynamic eager 1"]["status"] == "dropped"
    assert rows["int8_dynamic eager 1"]["ratio"] == 5.0
    assert (
        rows["int8_dynamic eager 1"]["why"]
        == "measured together, 12.50 times as long as int8_dynamic fp32 compile, 1 thread, batch 1"
    )


def test_a_loss_that_is_not_certain_is_flagged(found: Any) -> None:
    stand_ins = StandIns({("int8_dynamic", "eager"): 0.5}, {"int8_dynamic": QualityLoss(0.1, -1, 1.2, 99)})
    done, _ = found(stand_ins, "method.engines=[eager]", TWO)
    assert done.beginning.search["flags"] == ["not_certified"]
    assert "cannot certify max_quality_loss=0.5; needs about" in done.beginning.search["sentence"]


def finalist(quantizer: str, ratio: float, lost: float, half: float = 0.05) -> Standing:
    one = Standing(Candidate(quantizer, "fp32", "compile", 1, 1), "finalist")
    one.ratio = Interval(ratio, ratio - half, ratio + half, 6)
    one.loss = QualityLoss(lost, lost - 0.1, lost + 0.1, 100)
    return one


def decided(finalists: list[Standing], direct: float = 1.0) -> Standing:
    baseline = Standing(BASELINE, "baseline", log=0.0, ratio=Interval(1.0), loss=QualityLoss(0, 0, 0, 0))
    files = {"int8_weight": 0.25, "int8_static": 0.3, "int8_dynamic": 0.3, "none": 1.0}
    finals = Finals("latency", baseline, lambda *_: compared(direct), lambda one: files[one.candidate.quantizer])
    return finals.winner(finalists)


def test_of_those_as_good_within_noise_the_one_that_loses_least_wins() -> None:
    first, second = finalist("int8_static", 0.5, 0.3), finalist("int8_dynamic", 0.51, 0.1)
    assert decided([first, second]) is second
    assert (
        first.why
        == "as good within noise as int8_dynamic fp32 compile, 1 thread, batch 1, and loses more: 0.30 points, not 0.10"
    )


def test_wide_intervals_are_no_reason_to_take_what_was_found_to_be_slower() -> None:
    first, second = finalist("int8_static", 0.5, 0.3), finalist("int8_dynamic", 0.54, 0.1)
    assert decided([first, second]) is first
    assert second.why.startswith("1.08 times what ")


def test_then_the_one_with_the_smallest_file() -> None:
    first, second = finalist("int8_static", 0.5, 0.101), finalist("int8_weight", 0.51, 0.102)
    assert decided([first, second]) is second


def test_a_difference_that_pairs_show_decides() -> None:
    first, second = finalist("int8_static", 0.5, 0.3), finalist("int8_dynamic", 0.51, 0.1)
    assert decided([first, second], direct=1.06) is first
    assert second.why == "1.02 times what int8_static fp32 compile, 1 thread, batch 1 takes"


def test_no_better_than_the_dense_model_within_noise_is_the_dense_model() -> None:
    assert decided([finalist("int8_static", 0.98, 0.1)]).candidate == BASELINE
    assert decided([finalist("none", 1.3, 0.0)]).candidate == BASELINE


def test_what_was_found_to_be_slower_than_the_dense_model_does_not_win_by_its_file() -> None:
    slower = finalist("int8_weight", 1.08, 0.0, half=0.1)
    assert decided([slower]).candidate == BASELINE
    assert slower.why == "1.08 times what the dense model takes"
    assert decided([finalist("int8_weight", 1.01, 0.0)]).candidate.quantizer == "int8_weight"


SMALL = ("task=tabular", "architecture.widths=[64,32]", "budget.steps=20", "threads=1")


def test_from_the_command_line_to_a_run_that_predicts(cli: Cli) -> None:
    typed = ("method=optimize", "max_quality_loss=50", "method.engines=[eager]", "method.quantizers=[none,int8_weight]")
    done = cli("run", *SMALL, *QUIET, *typed, "method.precisions=[fp32,bf16]", "method.seconds=300", limit=300)
    record = cli.record()
    rows = record["optimize"]
    assert [(one["quantizer"], one["precision"]) for one in rows] == [
        ("none", "fp32"), ("none", "bf16"), ("int8_weight", "fp32"), ("int8_weight", "bf16"),
    ]  # fmt: skip
    assert rows[0]["status"] == "baseline"
    assert sum(one["status"] == "winner" for one in rows) == ("nothing_better" not in record["flags"])
    assert all(one["why"] or one["status"] == "winner" for one in rows)
    assert all(one["loss"] is not None for one in rows if one["ratio"] is not None)
    (dense,) = (cli.store / "cache").glob("*-train-*")
    (made,) = (cli.store / "cache").glob("*-quantize-*")
    assert record["parents"] == [dense.name]
    untouched = json.loads((made / "result.json").read_text())["metrics"]["quality/accuracy"]
    assert untouched["reason"] == "made for a search to judge; the test split was left untouched"
    assert record["metrics"]["quality/accuracy"]["value"] is not None
    assert record["metrics"]["train/steps"]["value"] == 0
    assert record["overrides"] == [*SMALL, *QUIET, *typed, "method.precisions=[fp32,bf16]", "method.seconds=300"]
    assert "Search for the best latency that loses at most 50 points of accuracy" in done.stdout
    assert "Search for the best latency" in cli("show", record["id"]).stdout


@pytest.mark.slow
def test_the_smallest_file_is_counted_and_its_weights_predict(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.datasets import load_breast_cancer

    monkeypatch.setenv(cache.BOUND, "0")  # nothing stays but what the search itself needs
    typed = ("method=optimize", "objective=file", "max_quality_loss=50", "method.quantizers=[none,int8_weight,int8_dynamic]")
    cli("run", *SMALL, *QUIET, *typed, limit=300)
    record = cli.record()
    (row,) = [one for one in record["optimize"] if one["status"] == "winner"]
    assert row["quantizer"] == record["config"]["quantizer"]["name"] != "none"
    assert row["ratio"] < 0.5
    assert [one for one in record["data"]["about"] if one.startswith("quantised: 3 of 3 layers")] != []
    assert record["metrics"]["size/converted_modules"]["value"] == 3
    load_breast_cancer(as_frame=True).data.head(3).to_csv(tmp_path / "new.csv", index=False)
    assert len(cli("predict", record["id"], str(tmp_path / "new.csv")).stdout.splitlines()) == 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of processes through /proc")
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGKILL, -9, "")])
def test_a_search_that_is_ended_leaves_no_process_and_says_what_is_kept(
    cli: Cli, number: signal.Signals, code: int, said: str
) -> None:
    typed = ("method=optimize", "max_quality_loss=50", "method.engines=[eager]", "method.quantizers=[int8_weight,int8_dynamic]")
    process = cli.popen("run", *SMALL, *QUIET, *typed, "method.seconds=300")
    assert process.stderr is not None
    assert any("1 of " in line for line in iter(process.stderr.readline, ""))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)  # until whoever could write there is gone
    assert process.returncode == code, err
    if said:
        assert err.splitlines()[-1] == said
    assert ("what it has quantised is kept, and the same command finds it" in err) == (number == signal.SIGTERM)
    assert len(list((cli.store / "cache").glob("*-quantize-*"))) == 2
    assert list((cli.store / "runs").glob("*")) == []
    left = [one for one in Path("/proc").glob("[0-9]*/cwd") if one.exists() and one.resolve() == cli.cwd.resolve()]
    end = time.monotonic() + 20
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [one for one in left if one.exists()]
    assert left == []


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_the_run_that_is_left_computes_with_every_core(cli: Cli) -> None:
    """What binds the threads of arms is not there any more when it is measured."""
    typed = ("method=optimize", "max_quality_loss=50", "method.engines=[eager]", "method.quantizers=[none,int8_weight]")
    cli("run", *SMALL[:-1], *QUIET, *typed, f"method.threads=[{usable_cores()}]", "method.precisions=[fp32]", limit=300)
    assert cli.record()["environment"]["threads"] == usable_cores()
