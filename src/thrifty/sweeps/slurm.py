"""Jobs on a cluster that SLURM runs, submitted by submitit: an array for a grid, one by one for a search."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thrifty.config.compose import plain
from thrifty.config.slurm import Slurm
from thrifty.errors import BadData, ThriftyError, Unsupported
from thrifty.events import Told
from thrifty.execution.death import first_line
from thrifty.execution.launch import Outcome
from thrifty.record import config_hash, new_record
from thrifty.stop import EXIT_CODES, REASONS, STOPPED
from thrifty.store import RunDirectory, read_record
from thrifty.sweeps.executor import Happened
from thrifty.sweeps.into import Standing, standing
from thrifty.sweeps.job import SweepJob
from thrifty.sweeps.runs import outcome_of
from thrifty.sweeps.slurm_job import STORAGE, Result, SlurmJob
from thrifty.sweeps.slurm_states import LIVE, UNKNOWN, WAITING, JobState, cancel, states_of, verdict

_LOOK_SECONDS = 0.5
_SURE = 2
"""So many answers of SLURM's in a row have to say that a job is over: between two states of one that is queued again it looks so, too."""
_END_SECONDS = 90.0
"""How long jobs that were cancelled may take to end: SLURM gives them 30 s before it kills."""
_GENERAL = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip
"""What submitit calls alike on every kind of cluster; the rest has `slurm_` before it."""


@dataclass
class _Submitted:
    """A job in SLURM's hands."""

    job: SweepJob
    there: Any
    """submitit's."""
    over: int = 0
    """Answers in a row that said it is."""

    @property
    def id(self) -> str:
        return self.there.job_id


class SlurmJobs:
    """Runs each job of a sweep as one of SLURM's.

    Args:
        at_once: so many may be submitted and not ended.
        folder: for what submitit keeps of the jobs while they go on; on a disk that all nodes share, as the store is.

    Raises:
        Unsupported: submitit or SLURM is not here.
    """

    def __init__(self, settings: Slurm, at_once: int, folder: Path) -> None:
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise Unsupported(
                "sweep.where=slurm: needs submitit, which is not installed; pip install 'thrifty[slurm]', or take sweep.print=sbatch"
            ) from error
        self.settings, self.at_once, self.folder = settings, at_once, folder
        given = {name if name in _GENERAL else f"slurm_{name}": value for name, value in settings.parameters().items()}
        try:
            self._executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=settings.max_num_timeout)
        except RuntimeError as error:
            raise Unsupported(
                "sweep.where=slurm: there is no SLURM here (no srun on the PATH); start it where sbatch works, or take sweep.print=sbatch"
            ) from error
        self._executor.update_parameters(**given)
        self._open: dict[int, _Submitted] = {}
        self._stopped_by: int | None = None
        self._asked_at = float("-inf")
        self._told_waiting: set[str] = set()
        self._earlier = [one.name.removesuffix("_submitted.pkl") for one in sorted(folder.glob("*_submitted.pkl"))]
        """Jobs of an attempt at this sweep whose command line is gone."""

    @property
    def cores(self) -> int:
        """That a job asks for."""
        return self.settings.cpus_per_task or 1

    def room(self) -> int:
        """Jobs that may be submitted now."""
        return self.at_once - len(self._open)

    def start(self, jobs: Sequence[SweepJob]) -> None:
        """Submit them, several as one array.

        Raises:
            Unsupported: SLURM refuses them.
        """
        if self._earlier:
            self._end(self._earlier)  # or two of them would run one experiment
            self._earlier = []
        calls = [SlurmJob(_without_password(job), self.settings.timeout_min, self.settings.signal_delay_s) for job in jobs]
        try:
            submitted = self._executor.submit_array(calls)
        except Exception as error:  # submitit's, with what sbatch has printed
            raise Unsupported(f"sweep.where=slurm: sbatch refuses the jobs ({_complaint(error)}); see sweep.slurm") from error
        for job, there in zip(jobs, submitted, strict=True):
            self._open[job.key] = _Submitted(job, there)
        if self._stopped_by is not None:  # it came while they were being submitted
            self._give(self._stopped_by)

    def wait(self) -> list[Happened]:
        """The jobs that have ended; blocks until one has."""
        while True:
            if happened := self._ended():
                return happened
            time.sleep(_LOOK_SECONDS)

    def stop(self, number: int) -> None:
        """Have those that run save and end, and those that wait not begin."""
        self._stopped_by = number
        self._give(number)

    def kill(self) -> None:
        """Cancel all."""
        cancel([one.id for one in self._open.values()])

    def close(self) -> None:
        """Cancel what is left, and wait until it is gone."""
        if self._open:
            self._end([one.id for one in self._open.values()])
        self._open = {}

    def _give(self, number: int) -> None:
        ids = [one.id for one in self._open.values()]
        cancel(ids, "--state=PENDING")  # first, or one of an array begins where another ends
        # SIGTERM, whatever we were given: at SIGUSR2 a job has itself queued again.
        cancel(ids, "--signal=TERM")

    def _end(self, ids: Sequence[str]) -> None:
        cancel(ids)
        end = time.monotonic() + _END_SECONDS
        while time.monotonic() < end:
            found = states_of(ids)
            if found is not None and not any(state.name in LIVE for state in found.values()):
                return
            time.sleep(_LOOK_SECONDS)

    def _ended(self) -> list[Happened]:
        results = {key: _result(one) for key, one in self._open.items()}
        due = time.monotonic() - self._asked_at >= self.settings.poll_s
        if not due and not any(results.values()):
            return []
        states = states_of([one.id for one in self._open.values()])
        if due:
            self._asked_at = time.monotonic()
            if self._stopped_by is not None:  # one that was being queued again is waiting now
                cancel([one.id for one in self._open.values()], "--state=PENDING")
        happened: list[Happened] = []
        if states is None:  # SLURM does not answer now
            return happened
        for key, one in list(self._open.items()):
            state = states.get(one.id, UNKNOWN)
            if state.waits_for is not None and state.waits_for not in self._told_waiting:
                self._told_waiting.add(state.waits_for)
                happened.append((key, Told(_waiting(one.id, state.waits_for))))
            outcome = self._outcome(one, state, self._valid(one, state, results[key]), due)
            if outcome is not None:
                del self._open[key]
                happened.append((key, outcome))
        return happened

    def _valid(self, one: _Submitted, state: JobState, result: Result | None) -> Result | None:
        """A result that is not of an earlier attempt: an orphan of a lost node brings back its own when its job runs elsewhere."""
        known = state.restarts is not None and result is not None and result["attempt"] is not None
        if result is None or (state.name not in WAITING and not (known and state.restarts != result["attempt"])):
            return result
        one.there.paths.result_pickle.unlink(missing_ok=True)
        return None

    def _outcome(self, one: _Submitted, state: JobState, result: Result | None, due: bool) -> Outcome | None:
        if result is not None and result["exit_code"] not in STOPPED:
            if result["exit_code"] != 0 and self.settings.tasks > 1:
                cancel([one.id])  # the other tasks may wait for the one that leads
            return self._told(one, result)
        if state.name in LIVE:
            one.over = 0
        elif due:
            one.over += 1
        return self._judged(one, state, result) if one.over >= _SURE else None

    def _told(self, one: _Submitted, result: Result) -> Outcome:
        """As the job itself says."""
        if result["path"] is not None:
            path = Path(result["path"])
            return Outcome(result["exit_code"], path, read_record(path), result["message"])
        if result["exit_code"] in (2, 3, 4):  # a gate said no: nothing was written
            return Outcome(result["exit_code"], None, None, result["message"])
        return self._buried(one.job, result["exit_code"], "killed", result["message"] or "it left no record")

    def _judged(self, one: _Submitted, state: JobState, result: Result | None) -> Outcome:
        """As SLURM says of a job that was stopped, or that has left no word."""
        if self._stopped_by is not None:
            code = EXIT_CODES[REASONS[signal.Signals(self._stopped_by)]]
            found = _standing(one.job)
            path = found.finished or found.cut_off
            if path is None and found.busy is not None:
                return self._buried(one.job, code, "preempted", "stopped with its sweep before it could save")
            return Outcome(code, path, None if path is None else read_record(path), "stopped")
        if state.name == "COMPLETED" and result is not None:  # a signal has ended it that was not the cluster's last word
            path = None if result["path"] is None else Path(result["path"])
            return Outcome(result["exit_code"], path, None if path is None else read_record(path), result["message"])
        code, status, reason = verdict(state.name, one.id, self.settings.timeout_min)
        return self._buried(one.job, code, status, reason + _last_words(one))

    def _buried(self, job: SweepJob, code: int, status: str, reason: str) -> Outcome:
        """The record of a job that could not write it, unless it did before it died."""
        found = _standing(job)
        if found.finished is not None:
            return outcome_of(found.finished, read_record(found.finished))
        path = found.busy or found.cut_off
        try:
            made = _new(job) if path is None else RunDirectory.take_over(path)
        except BadData:  # an orphan of a lost node still holds it: what it has written is its own
            made = _new(job)
        try:
            made.finish(status, reason)
        except ThriftyError as error:
            return Outcome(code, None, None, str(error))
        return Outcome(code, made.path, made.record, reason)


def _waiting(job_id: str, reason: str) -> str:
    return (
        f"SLURM does not begin job {job_id}: {reason}; if it asks for what no node of the partition has, change sweep.slurm "
        f"(`scontrol show job {job_id}`, `sinfo`)"
    )


def _without_password(job: SweepJob) -> SweepJob:
    """The job as it may be written: where its search is kept goes by the environment, which sbatch hands on."""
    if job.stopping is None or job.stopping.storage is None:
        return job
    os.environ[STORAGE] = job.stopping.storage
    return replace(job, stopping=replace(job.stopping, storage=None))


def _standing(job: SweepJob) -> Standing:
    return standing(Path(job.directory), config_hash(plain(job.config)), 0.0)


def _new(job: SweepJob) -> RunDirectory:
    return RunDirectory.claim(Path(job.directory), new_record(plain(job.config), job.overrides, secrets.token_hex(8)))


def _result(one: _Submitted) -> Result | None:
    """What the job itself has brought back, once it has."""
    if not one.there.paths.result_pickle.exists():
        return None
    try:
        return one.there.task(0).result()  # the task that leads tells
    except Exception as error:  # noqa: BLE001 - whatever went wrong in the job, told as submitit tells it
        return Result(exit_code=1, path=None, message=f"the job failed: {_complaint(error)}", attempt=None)


def _complaint(error: Exception) -> str:
    """The line that says it: the last of a traceback's, or of what a command has printed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    told = [line for line in lines if "rror:" in line]
    return (told or lines or [first_line(error)])[-1 if told else 0][:300]


def _last_words(one: _Submitted) -> str:
    """What a job that died has printed last."""
    try:
        lines = one.there.paths.stderr.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; its last words: {words[:200]}" if words else ""
