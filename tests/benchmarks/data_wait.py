"""Share of a training's time that goes to getting batches: python tests/benchmarks/data_wait.py

Under a minute on two cores. The text is mapped into memory and never held there whole; the images are those that the task brings.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import _report
from _commands import RUN, output_of

MOST_PCT = 2.0
CASES = {
    "gpt tiny, 64 MiB of text": ["task=text", "model=tiny", "task.path=text.txt", "budget.steps=20"],
    "gpt tiny, two workers": ["task=text", "model=tiny", "task.path=text.txt", "budget.steps=20", "workers=2"],
    "vit nano, digits": ["task=image", "architecture=vit", "model=nano", "budget.steps=60"],
    "mlp nano, table": ["task=tabular", "budget.steps=500"],
}
HELD_TO = "gpt tiny"
"""Beginning of the names of those whose target it is."""


def wait_of(typed: list[str], folder: Path) -> float:
    """Per cent of the training's time."""
    output_of([*RUN, *typed, "logger=none", "measure=none"], str(folder))
    newest = max((folder / "results" / "runs").glob("*/result.json"))
    value: float = json.loads(newest.read_text(encoding="utf-8"))["metrics"]["train/data_wait_pct"]["value"]
    return value


def main() -> None:
    """Measure, print and write the table; exit 1 where a wait is longer than it may be."""
    parser = _report.parser(__doc__)
    parser.add_argument("--mib", type=int, default=64, help="of text")
    options = parser.parse_args()
    rows, missed = [], False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        line = b"What is measured can be made cheaper, and what is not is only hoped to be.\n"
        (folder / "text.txt").write_bytes(line * (options.mib * 2**20 // len(line)))
        for name, typed in CASES.items():
            waited = wait_of(typed, folder)
            held = name.startswith(HELD_TO)
            missed |= held and waited > MOST_PCT
            rows.append([name, f"`python run.py {' '.join(typed)}`", f"{waited:.3f} %", f"{MOST_PCT:g} %" if held else ""])
            print(rows[-1], file=sys.stderr)
    lines = _report.table(["what", "command", "waiting for data", "at most"], rows)
    _report.publish("data_wait", "Share of training that waits for data", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
