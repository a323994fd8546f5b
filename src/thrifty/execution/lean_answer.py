"""The lean process's side of its pipe: imports, reads its one task, and answers, each a line of JSON. Imports no torch.

The answer goes to what was stdout: what the libraries print goes to stderr.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from thrifty.execution.death import end_with_parent, first_line, out_of_memory


def serve(imports: Callable[[], None], do: Callable[[dict[str, Any]], dict[str, Any]]) -> NoReturn:
    """Import at once, wait for the task, do it and say what it gave, or why it failed; ends with the parent.

    Args:
        do: takes the task, with `started`: when the parent started this process, by its monotonic clock.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        imports()
        line = sys.stdin.readline()
        if not line:  # the parent is gone, or has no need of us
            os._exit(0)
        _say(answers, {"measured": do(json.loads(line))})
    except BaseException as error:  # noqa: BLE001 - a library may raise SystemExit: it is told to the parent, and is our end
        memory = isinstance(error, Exception) and out_of_memory(error)
        _say(answers, {"failed": ["oom" if memory else "error", f"{type(error).__name__}: {first_line(error)}"]})
    os._exit(0)  # library threads must not delay the end


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        answers.write(json.dumps(what) + "\n")
        answers.flush()
