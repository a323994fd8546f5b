"""A real SLURM on this machine, for tests: munge, a controller and two nodes on loopback, all of it in a temporary directory.

It needs no rights, no service manager and no cgroups, and its processes die with the one that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("n0", "n1")
GPUS = 2
"""Of each node; character devices that are none."""
_PR_SET_PDEATHSIG = 1
_STARTING_SECONDS = 30

_CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log
SlurmdLogFile={directory}/log/slurmd.%n.log
SlurmctldTimeout=30
SlurmdTimeout=10
MessageTimeout=5
KillWait=3
MinJobAge=600
InactiveLimit=0
JobRequeue=1
GresTypes=gpu
NodeName=n[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port={node_ports} CPUs=2 RealMemory=4000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=low  Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""

_SACCT = """#!/bin/sh
# There is no accounting here: what the controller knows, as `sacct --parsable2 -o JobID,State,NodeList -j N ...` would print it.
jobs=
while [ $# -gt 0 ]; do
    [ "$1" != -j ] || { shift; jobs="$jobs,$1"; }
    shift
done
echo 'JobID|State|NodeList'
squeue -h -r -t all -j "${jobs#,}" -o '%i|%T|%N'
"""


def missing_programs() -> list[str]:
    """What has to be installed for it: slurmctld, slurmd, slurm-client and munge on Debian."""
    return [one for one in PROGRAMS if shutil.which(one, path=_path()) is None]


def _path() -> str:
    """PATH with the places that daemons lie in, which a user's own may lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def free_ports(number: int) -> list[int]:
    """Consecutive ports of loopback that nobody listens on."""
    while True:
        first = 20000 + secrets.randbelow(10000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + number):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return list(range(first, first + number))


def dies_with_us() -> None:
    """Between fork and exec: the kernel ends the daemon when the test process is gone, however it went."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def wait_for(what: Callable[[], object], seconds: float, told: Callable[[], str] = str) -> None:
    """Wait until something holds.

    Raises:
        AssertionError: it did not within so many seconds; says `told()`.
    """
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, told() or "waited in vain"
        time.sleep(0.05)


class SlurmCluster:
    """A cluster that runs: its commands, its jobs, its nodes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {"SLURM_CONF": str(self.directory / "slurm.conf"), "PATH": f"{self.directory / 'bin'}{os.pathsep}{_path()}"}

    def command(self, *words: str, check: bool = True) -> str:
        """Run one of SLURM's commands; returns what it printed."""
        done = subprocess.run(words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30)
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """State of every job that it remembers, by its number."""
        lines = self.command("squeue", "-h", "-r", "-t", "all", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def open_jobs(self) -> dict[str, str]:
        """Those that are waiting, running or ending."""
        lines = self.command("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def start(self) -> None:
        """Start everything; returns once both nodes are idle."""
        self._write_configuration()
        socket_path = self.directory / "munge" / "munge.socket"
        # --force: munged wants every directory above its socket open to all, which a private temporary one is not.
        self._daemon(
            "munged", "--foreground", "--force", "--origin=127.0.0.1", f"--socket={socket_path}",
            f"--key-file={self.directory / 'munge' / 'key'}", f"--seed-file={self.directory / 'munge' / 'seed'}",
            f"--pid-file={self.directory / 'munge' / 'pid'}", f"--log-file={self.directory / 'log' / 'munged.log'}",
        )  # fmt: skip
        wait_for(socket_path.exists, _STARTING_SECONDS, self.logs)
        self._daemon("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self.wait_until_idle()

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._daemon("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """As a node that loses its network: its daemon is gone, what it has started goes on."""
        self._daemons[node].kill()
        self._daemons.pop(node).wait()

    def wait_until_idle(self) -> None:
        """Wait until no job is left and both nodes are idle, of which one that was lost is started again."""
        for node in NODES:
            if node not in self._daemons:
                self.start_node(node)
        wait_for(
            lambda: self.command("sinfo", "-h", "-N", "-p", "low", "-o", "%T", check=False).split() == ["idle"] * len(NODES),
            _STARTING_SECONDS,
            self.logs,
        )

    def clear(self) -> None:
        """Cancel every job and wait until both nodes are idle."""
        self.command("scancel", "-u", getpass.getuser(), check=False)
        wait_for(lambda: not self.open_jobs(), _STARTING_SECONDS, self.logs)
        self.wait_until_idle()

    def stop(self) -> None:
        """End the jobs, the nodes, the controller and munge, in this order."""
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            self.command("scancel", "-u", getpass.getuser(), check=False)
            wait_for(lambda: not self.open_jobs(), 10)
        for name in (*NODES, "slurmctld", "munged"):
            if (daemon := self._daemons.pop(name, None)) is not None:
                daemon.terminate()
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(f"{log.name}\n{log.read_text()[-3000:]}" for log in sorted((self.directory / "log").glob("*")))

    def _daemon(self, program: str, *arguments: str, name: str | None = None) -> None:
        path = shutil.which(program, path=_path())
        assert path is not None
        with (self.directory / "log" / f"{name or program}.out").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [path, *arguments], env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=dies_with_us,
            )  # fmt: skip

    def _write_configuration(self) -> None:
        for name in ("munge", "state", "spool", "log", "dev", "bin"):
            (self.directory / name).mkdir()
        key = self.directory / "munge" / "key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        ports = free_ports(1 + len(NODES))
        (self.directory / "slurm.conf").write_text(
            _CONFIGURATION.format(
                directory=self.directory, host=socket.gethostname().split(".")[0], user=getpass.getuser(), gpus=GPUS,
                controller_port=ports[0], node_ports=f"{ports[1]}-{ports[-1]}",
            )
        )  # fmt: skip
        (self.directory / "gres.conf").write_text(f"NodeName=n[0-1] Name=gpu {self._devices()}\n")
        (self.directory / "cgroup.conf").touch()
        sacct = self.directory / "bin" / "sacct"
        sacct.write_text(_SACCT)
        sacct.chmod(0o755)

    def _devices(self) -> str:
        """Files that stand for GPUs: devices of our own where we may make them, else any that are there."""
        try:
            for number in range(GPUS):
                os.mknod(self.directory / "dev" / f"gpu{number}", 0o20666, os.makedev(1, 3))
        except OSError:
            return f"File=/dev/tty[0-{GPUS - 1}]" if Path("/dev/tty1").exists() else f"Count={GPUS}"
        return f"File={self.directory}/dev/gpu[0-{GPUS - 1}]"


@contextlib.contextmanager
def started_cluster() -> Iterator[SlurmCluster]:
    """A cluster for as long as it is needed; nothing is left of it."""
    # Not pytest's directory: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="thrifty-slurm-", ignore_cleanup_errors=True) as directory:
        cluster = SlurmCluster(Path(directory))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


if __name__ == "__main__":  # to look at it by hand: python slurm_cluster.py sinfo
    with started_cluster() as one:
        sys.exit(subprocess.call(sys.argv[1:], env={**os.environ, **one.environment}))
