"""The process that judges models for a search: their scores on validation data, paired with the dense model's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thrifty.config.schema import Config
from thrifty.execution.death import end_with_parent, end_with_the_command_line, first_line, out_of_memory
from thrifty.execution.judge import Judged


def serve(connection: Connection, config: Config, dense: Judged) -> None:
    """Answer until the parent is gone; see `execution.judge`."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    end_with_the_command_line()  # a large model's predictions take minutes
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    loss_of: Callable[[Judged], Any] | None = None
    try:
        while True:
            judged: Judged = connection.recv()
            try:
                if loss_of is None:
                    loss_of = _against(config, dense)
                connection.send(loss_of(judged))
            except Exception as error:  # noqa: BLE001 - told to the parent: one that cannot be judged does not end the others
                status = "oom" if out_of_memory(error) else getattr(error, "status", "error")
                connection.send((status, first_line(error)))
    except (EOFError, ConnectionError):  # the parent is gone
        pass
    os._exit(0)  # library threads must not delay the end


def _against(config: Config, dense: Judged) -> Callable[[Judged], Any]:
    """A function that tells what a model lost against the dense one."""
    import torch

    from thrifty.config import registry
    from thrifty.execution.device import choose_device
    from thrifty.methods.evaluate import any_shape, predictor, scores_of
    from thrifty.methods.model import engine_for, load_trained
    from thrifty.methods.quality_loss import Scores, loss_between

    device = choose_device(config)
    data = registry.load("task", config.task.name)(config.task, Path(config.store)).prepare(config.architecture)
    data.to(device)

    def scores(judged: Judged) -> Scores:
        torch.set_num_threads(judged.threads)
        engine = engine_for(judged.engine, device)
        trained = load_trained(Path(judged.run), device, judged.config_hash, judged.precision)
        if engine.exports:
            predict = any_shape(lambda some: predictor(trained.module, trained.precision, device, engine, some, trained.kept))
        else:  # those that do not compute as PyTorch does, but for the order of sums
            predict = predictor(trained.module, trained.precision, device)
        return scores_of(predict, data, "validation", config.measure.examples)

    before = scores(dense)
    return lambda judged: loss_between(data, before, scores(judged))
