"""Schema of `sweep.slurm`: what each experiment of a sweep asks a cluster for, by the names of Hydra's submitit launcher."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from thrifty.config.key import key
from thrifty.errors import BadConfiguration


@dataclass(kw_only=True)
class Slurm:
    """A job of SLURM's, one for each experiment."""

    timeout_min: int = key("time limit of a job", unit="min", at_least=1)
    cpus_per_task: int | None = key("cores of a task", at_least=1, null="the partition's default")
    gpus_per_node: int | None = key("GPUs on each node", at_least=0, null="none asked for")
    tasks_per_node: int = key(
        "processes on each node, one for each device of an experiment; 1 starts all devices itself", at_least=1
    )
    mem_gb: float | None = key("memory on each node", unit="GB", above=0, null="the partition's default")
    nodes: int = key("nodes of a job; with several, tasks_per_node times nodes is devices", at_least=1)
    name: str = key("name of the jobs")
    stderr_to_stdout: bool = key("whether a job's log is one file")
    partition: str | None = key("partition", null="the cluster's default")
    qos: str | None = key("quality of service")
    comment: str | None = key("comment of the jobs")
    constraint: str | None = key("features that the nodes must have")
    exclude: str | None = key("nodes not to be taken")
    gres: str | None = key("other resources, such as gpu:a100:1")
    cpus_per_gpu: int | None = key("cores of each GPU", at_least=1)
    gpus_per_task: int | None = key("GPUs of each task", at_least=0)
    mem_per_gpu: str | None = key("memory for each GPU, such as 40G")
    mem_per_cpu: str | None = key("memory for each core, such as 4G")
    account: str | None = key("whom the time is charged to")
    signal_delay_s: int = key("how long before its time limit a job is told, to save its weights", unit="s", at_least=0)
    max_num_timeout: int = key("how often a job that reaches its time limit is queued again, to go on", at_least=0)
    array_parallelism: int = key("jobs of a grid that run at a time", at_least=1)
    additional_parameters: dict[str, Any] = key("any other of sbatch's, such as {mail-type: BEGIN}")
    srun_args: list[str] | None = key("words for srun, such as [--cpu-bind=none]")
    setup: list[str] | None = key("lines of shell before a job begins, such as [module load cuda]")
    poll_s: float = key("how often SLURM is asked what became of the jobs", unit="s", above=0)

    @property
    def tasks(self) -> int:
        """Processes of a job."""
        return self.nodes * self.tasks_per_node

    def check_devices(self, devices: int) -> None:
        """Hold the tasks of a job to the devices of an experiment.

        Raises:
            BadConfiguration: neither one task, which starts all devices itself, nor one for each.
        """
        if self.tasks not in (1, devices):
            raise BadConfiguration(
                f"sweep.slurm.nodes={self.nodes} sweep.slurm.tasks_per_node={self.tasks_per_node}: makes {self.tasks} tasks for "
                f"devices={devices}; give as many devices as tasks, or one task on one node, which starts all devices itself"
            )

    def parameters(self) -> dict[str, Any]:
        """What submitit's executor for SLURM takes; what was left open is left out."""
        ours = ("max_num_timeout", "poll_s")
        named = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name not in ours}
        return {name: value for name, value in named.items() if value is not None}
