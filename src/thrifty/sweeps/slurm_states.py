"""What SLURM says of jobs, and what that makes of a run."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from thrifty.sweeps.slurm_job import TIME_LIMIT_CODE, time_limit_reason

LIVE = (
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT",
    "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
)  # fmt: skip
"""States after which there is another."""
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED")
"""Of these, before a job begins, or begins once more."""
_WAITING_ITS_TURN = ("None", "Resources", "Priority", "JobArrayTaskLimit", "BeginTime", "Dependency", "Prolog", "Cleaning")
_PREEMPTED_CODE, _KILLED_CODE = 143, 5


@dataclass(frozen=True)
class JobState:
    """Of a job, as SLURM has it now."""

    name: str
    restarts: int | None = None
    """How often it was queued again; None where SLURM does not say."""
    waits_for: str | None = None
    """Of one that does not begin: what its turn alone will not bring about, in SLURM's words."""


UNKNOWN = JobState("UNKNOWN")


def states_of(ids: Sequence[str]) -> dict[str, JobState] | None:
    """State of each job that SLURM knows: of the queue, or of the accounting where there is one; None where it does not answer."""
    columns = "JobArrayID:60,State:40,RestartCnt:12,Reason:200"
    answer = _asked("squeue", "-h", "-r", "-t", "all", "-u", getpass.getuser(), "-O", columns)
    if answer is None:
        return None
    lines = [line.split(None, 3) for line in answer.splitlines()]
    known = {line[0]: JobState(line[1], int(line[2]), _waits_for(line[1], *line[3:])) for line in lines if len(line) >= 3}
    found = {one: known[one] for one in ids if one in known}
    if lost := [one for one in ids if one not in found]:
        for line in (_asked("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(lost)) or "").splitlines():
            name, _, state = line.partition("|")
            if name in lost and state:
                found[name] = JobState(state.split()[0])  # "CANCELLED by 1000"
    return found


def _waits_for(state: str, reason: str = "None") -> str | None:
    reason = reason.strip().strip("()")
    return reason if state == "PENDING" and reason not in _WAITING_ITS_TURN else None


def cancel(ids: Sequence[str], *options: str) -> None:
    """Cancel jobs, or give them a signal; those that have ended meanwhile are no error."""
    if ids:
        _asked("scancel", "--quiet", *options, *ids)


def _asked(*command: str) -> str | None:
    try:
        # In a session of its own: Ctrl-C is ours, and must not cut an answer off.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def verdict(state: str, job_id: str, timeout_min: int) -> tuple[int, str, str]:
    """Exit code, status and reason of a run whose job SLURM has ended, or that ended without a word."""
    about = f"SLURM's job {job_id}"
    match state:
        case "CANCELLED":
            return _KILLED_CODE, "killed", f"{about} was cancelled (scancel)"
        case "TIMEOUT" | "DEADLINE":
            return TIME_LIMIT_CODE, "preempted", time_limit_reason(timeout_min)
        case "PREEMPTED" | "REVOKED":
            return _PREEMPTED_CODE, "preempted", f"{about} was preempted, and not queued again"
        case "NODE_FAIL" | "BOOT_FAIL":
            return _KILLED_CODE, "killed", f"the node of {about} failed ({state})"
        case "OUT_OF_MEMORY":
            return (
                _KILLED_CODE,
                "oom",
                f"{about} took more memory than it asked for; give more sweep.slurm.mem_gb, or a smaller batch_size",
            )
        case "UNKNOWN":
            return _KILLED_CODE, "killed", f"{about} is gone, and SLURM does not know how it ended"
        case _:
            return _KILLED_CODE, "killed", f"{about} died ({state})"
