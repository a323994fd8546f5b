"""Arms: what they are told, what they tell, and what is left of one that misbehaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import LINUX, alive, gone

from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec, Turns
from thrifty.execution.arms import Arm, ArmFailed, link
from thrifty.execution.cores import freest_cores
from thrifty.instrument.pairs import PairFailed, Plan, measure

QUICK = Plan(most_pairs=2, blocks=3, pair_s=0.0)


def spec(name: str, **options: Any) -> ArmSpec:
    return ArmSpec(f"faulty_workloads:{name}", options)


def test_an_arm_works_at_our_word_and_tells_how_long() -> None:
    with Arm(spec("well_behaved", batch_size=4)) as arm:
        ready = arm.ready()
        assert ready.examples == 4
        assert 0 < ready.call_s <= ready.first_call_s * 10
        block = arm.work(50)
        assert block.calls == 50
        assert block.seconds > 0
        pid = arm.process.pid
    assert pid is not None
    assert gone(pid)


@LINUX
def test_arms_come_from_another_fork_server_once_it_is_renewed() -> None:
    def server() -> int:
        with Arm(spec("well_behaved")) as arm:
            arm.ready()
            return int(Path(f"/proc/{arm.process.pid}/stat").read_text().rpartition(")")[2].split()[1])

    first = server()
    assert server() == first
    fork_server.renew()
    assert not alive(first)
    assert server() != first


def test_settings_are_those_in_force() -> None:
    cores = tuple(sorted(os.sched_getaffinity(0)))[:1] if hasattr(os, "sched_getaffinity") else None
    with Arm(ArmSpec("faulty_workloads:well_behaved", threads=1, cores=cores)) as arm:
        settings = arm.ready().settings
    assert settings["threads"] == 1
    assert settings["cores"] == (None if cores is None else list(cores))
    assert settings["default_dtype"] == "float32"
    assert settings["omp_wait_policy"] == os.environ["OMP_WAIT_POLICY"]
    assert settings["gomp_spincount"] == os.environ.get("GOMP_SPINCOUNT")


FAULTS = {
    "fails_at_the_first_call": ("error", "shapes cannot be multiplied"),
    "not_a_number": ("diverged", "not numbers"),
    "too_much_memory": ("oom", "allocate"),
    "exits": ("killed", "exit code 3"),
    "raises_system_exit": ("error", "a library's way out"),
    "segfaults": ("killed", "SIGSEGV"),
    "is_killed": ("killed", "SIGKILL"),
    "there_is_no_such": ("error", "there_is_no_such"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_arm_that_fails_says_why_and_the_next_is_not_affected(name: str) -> None:
    status, reason = FAULTS[name]
    with Arm(spec(name)) as arm, pytest.raises(ArmFailed) as caught:
        arm.ready()
    assert caught.value.status == status
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason
    with Arm(spec("well_behaved")) as arm:
        arm.ready()


def test_an_arm_that_fails_in_a_block_says_why() -> None:
    with Arm(spec("fails_later")) as arm:
        arm.ready()
        with pytest.raises(ArmFailed, match="the fourth was the last"):
            arm.work(1)


def test_a_block_begins_with_untimed_work(tmp_path: Path) -> None:
    """Three tenths of its calls, or, where that is none, what the workload has for it."""
    file = tmp_path / "noted"
    with Arm(spec("noted", file=str(file))) as arm:
        arm.ready()
        file.write_text("")
        assert arm.work(1).calls == 1
        assert file.read_text() == "lc"
        assert arm.work(25).calls == 25
        assert file.read_text() == "lc" + 32 * "c"


def test_a_block_in_which_something_was_compiled_says_so() -> None:
    with Arm(spec("recompiles_later")) as arm:
        arm.ready()
        end, compiled = time.monotonic() + 30, [0]
        while not compiled[-1] and time.monotonic() < end:
            compiled.append(arm.work(1).compiled)
        compiled.append(arm.work(1).compiled)
    assert compiled[0] == 0
    assert compiled[-2:] == [1, 0]


def test_a_pair_with_such_a_block_is_flagged() -> None:
    longer = Plan(most_pairs=2, blocks=3, pair_s=1.5)
    assert measure(spec("recompiles_later"), spec("well_behaved"), longer).recompiled
    assert not measure(spec("well_behaved"), spec("well_behaved"), QUICK).recompiled


def test_an_arm_that_dies_in_a_block_is_told_from_one_that_fails() -> None:
    with Arm(spec("well_behaved")) as arm:
        arm.ready()
        assert arm.process.pid is not None
        os.kill(arm.process.pid, signal.SIGKILL)
        with pytest.raises(ArmFailed, match="SIGKILL") as caught:
            arm.work(1)
    assert caught.value.status == "killed"


def test_an_arm_that_says_nothing_is_ended() -> None:
    with Arm(spec("never_ends"), patience=0.5) as arm:
        with pytest.raises(ArmFailed, match="no sign of life"):
            arm.ready()
        assert arm.process.pid is not None
    assert gone(arm.process.pid)


def test_what_an_arm_prints_does_not_reach_us(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Arm(ArmSpec("faulty_workloads:prints", {"text": "hello"}, log=str(log))) as arm:
        arm.ready()
        arm.work(1)
    assert "hello" not in "".join(capfd.readouterr())
    assert log.read_text().count("hello") == 2


def test_what_an_arm_changes_stays_in_it() -> None:
    with Arm(spec("changes_everything")) as first:
        changed = first.ready().settings
        with Arm(spec("well_behaved")) as second:
            settings = second.ready().settings
    assert changed["threads"] == 1, "the instrument's number of threads is put back before anything is measured"
    assert changed["default_dtype"] == "float64", "and what else is in force is told"
    assert changed["deterministic"]
    assert settings["default_dtype"] == "float32"
    assert not settings["deterministic"]


@LINUX
def test_processes_that_an_arm_started_end_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with Arm(spec("starts_a_process", pid_file=str(pid_file))) as arm:
        arm.ready()
        child = int(pid_file.read_text())
        assert alive(child)
    assert gone(child)


@LINUX
def test_arms_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from thrifty.execution.arms import Arm\n"
        "from thrifty.execution.arm_worker import ArmSpec\n"
        "if __name__ == '__main__':\n"
        "    arm = Arm(ArmSpec('faulty_workloads:well_behaved'))\n"
        "    arm.ready()\n"
        "    print(arm.process.pid, flush=True)\n"
        "    arm.work(10**9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert gone(pid)


def test_a_pair_with_a_failing_arm_says_which_and_leaves_nothing_running() -> None:
    with pytest.raises(PairFailed) as caught:
        measure(spec("well_behaved"), spec("is_killed"), QUICK)
    assert caught.value.place == 1
    assert caught.value.status == "killed"


def test_arms_take_turns_strictly(tmp_path: Path) -> None:
    """Either begins, both do as many blocks, and a series follows a series."""
    file = tmp_path / "noted"
    ends = link()
    specs = [spec("noted", file=str(file), call=word, lead_in="") for word in "ab"]
    with Arm(specs[0], other=ends[0]) as first, Arm(specs[1], other=ends[1]) as second:
        for arm in (first, second):
            arm.ready()
        for leader, begins in ((0, "ab"), (1, "ba")):
            file.write_text("")
            for place, arm in enumerate((first, second)):
                arm.begin(Turns(calls=1, leads=place == leader, least=4))
            assert [len(arm.blocks()) for arm in (first, second)] == [4, 4]
            assert file.read_text() == begins * 4


@pytest.mark.parametrize(
    ("calls", "lead_in", "done"), [(1, 0, "lc"), (1, 2, "ccc"), (10, 0, "c" * 13), (10, 1, "c" * 13), (2, 1, "ccc")]
)
def test_a_block_is_led_in(calls: int, lead_in: int, done: str, tmp_path: Path) -> None:
    """By calls, as many as a share of its own or as are asked for; by what the workload has for it where that is none."""
    file = tmp_path / "noted"
    with Arm(spec("noted", file=str(file))) as arm:
        arm.ready()
        file.write_text("")
        assert arm.work(calls, lead_in).calls == calls
        assert file.read_text() == done


@pytest.mark.parametrize("dies", [0, 1])
def test_of_two_arms_that_take_turns_the_one_that_dies_is_told(dies: int) -> None:
    ends, arms = link(), []
    try:
        for place in (0, 1):
            arms.append(Arm(spec("well_behaved"), other=ends[place]))
        for arm in arms:
            arm.ready()
        for place, arm in enumerate(arms):
            arm.begin(Turns(calls=1, leads=place == 0, seconds=60))
        time.sleep(0.1)
        os.kill(arms[dies].process.pid or 0, signal.SIGKILL)
        assert len(arms[1 - dies].blocks()) > 0, "what it did before"
        with pytest.raises(ArmFailed, match="SIGKILL"):
            arms[dies].blocks()
    finally:
        for arm in arms:
            arm.end()


def test_a_pair_is_measured_by_example() -> None:
    """Arms of different batch sizes: what is kept is seconds by example."""
    found = measure(spec("well_behaved", batch_size=1), spec("well_behaved", batch_size=64), QUICK)
    assert len(found.pairs) == 2
    assert all(len(pair.first) == len(pair.second) == 3 for pair in found.pairs)
    assert found.comparison is not None
    assert found.comparison.ratio.value < 0.5, "64 examples at once cost less each than one alone"


@LINUX
def test_every_thread_of_an_arm_is_held_to_its_cores_once_it_is_built() -> None:
    """Threads of libraries are made in the first call, when the arm may still run on every core."""
    core = min(os.sched_getaffinity(0))
    with Arm(ArmSpec("faulty_workloads:well_behaved", threads=2, cores=(core,))) as arm:
        assert arm.ready().settings["cores"] == [core]
        tasks = [int(one.name) for one in Path(f"/proc/{arm.process.pid}/task").iterdir()]
        assert all(os.sched_getaffinity(task) == {core} for task in tasks)


def test_where_there_are_no_fork_servers_arms_are_spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "fits", lambda: False)
    fork_server.wait_until_ready(fork_server.ARMS)
    with Arm(spec("well_behaved")) as arm:
        assert arm.process.__class__.__name__ == "SpawnProcess"
        assert arm.ready().examples == 1
        assert arm.work(3).calls == 3
    assert arm.process.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not let processes choose cores")
def test_every_core_is_no_choice() -> None:
    assert freest_cores(len(os.sched_getaffinity(0))) is None
