"""`thrifty list` of a store with very many runs."""

from __future__ import annotations

import json

import pytest

from conftest import Cli, FinishedRun
from thrifty.report import commands


def test_the_latest_are_shown_and_how_many_were_not(
    tabular_run: FinishedRun, cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from thrifty.cli import thrifty_command

    made = tabular_run.copied_to(cli.store)
    for number in range(4):
        copy = tabular_run.copied_to(cli.store / str(number)).rename(made.parent / f"2099010{number + 1}{made.name[8:]}")
        record = json.loads((copy / "result.json").read_text())
        (copy / "result.json").write_text(json.dumps(record | {"id": copy.name}))
    monkeypatch.setattr(commands, "_SHOWN", 2)

    def listed(*options: str) -> list[str]:
        assert thrifty_command(["list", "--store", str(cli.store), *options]) == 0
        return capsys.readouterr().out.splitlines()

    lines = listed()
    assert [line.split()[0][:8] for line in lines[1:3]] == ["20990103", "20990104"]
    assert lines[-1] == "3 older ones are left out; --last N shows more, key=value fewer"
    assert [line.split()[0][:8] for line in listed("--last", "3")[1:]] == ["20990102", "20990103", "20990104"]
    assert len(listed("--json")) == 5, "a machine gets all"
    assert listed("task=tabular")[-1].startswith("3 older ones"), "of those that match too"
