"""`python run.py --help`: short, with examples and the defaults in force."""

from __future__ import annotations

from thrifty.config.registry import CHOICES
from thrifty.config.table import all_keys, default_shown

_EXAMPLES = """\
Thrifty trains a model and tells how fast, how heavy and how good it is.

usage: python run.py [KEY=VALUE ...]        one experiment
       python run.py -m [KEY=V1,V2 ...]     one for every combination

examples:
  python run.py                                        a small GPT on Python's own source, in a minute
  python run.py model=large optimizer=adam             302 million parameters, as far as a minute goes
  python run.py task=tabular                           a table; task.path=my.csv task.target=label for yours
  python run.py task=image                             handwritten digits; task.path=FOLDER of class folders for yours
  python run.py precision=bf16                         what does half the bits cost, and save?
  python run.py -m optimizer=sgd,adam seed=1,2         four runs, one table

"""

_SHOWN = ("model", "batch_size", "device", "budget.steps", "budget.seconds", "optimizer.lr", "regularizer.dropout", "target", "seed",
          "store")  # fmt: skip


def run_help() -> str:
    """The text of --help."""
    lines = [_EXAMPLES, "choices (default):\n"]
    for group, names in CHOICES.items():
        lines.append(f"  {group:<21}{', '.join(names)}  ({default_shown(group)})\n")
    lines.append("\nthe most used keys (default):\n")
    seen: set[str] = set()
    for key in all_keys():
        if key.name in _SHOWN and key.name not in seen:
            seen.add(key.name)
            allowed = f": {key.allowed}" if key.type == "choice" else ""
            lines.append(f"  {key.name:<21}{key.meaning}{allowed}  ({key.default})\n")
    lines.append(
        "\nEvery key: `thrifty keys`. What a run left behind: `thrifty list`, `thrifty show RUN`, `thrifty predict RUN INPUT`.\n"
        "Hydra's flags work too: -m, --cfg job, --info, --shell-completion.\n"
        "Exit codes: 0 done, 2 bad configuration, 3 unsupported here, 4 bad data, 5 out of memory or killed, 6 diverged,\n"
        "130 interrupted, 143 terminated.\n"
    )
    return "".join(lines)
