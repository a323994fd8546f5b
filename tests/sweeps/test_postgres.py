"""PostgreSQL as a search's storage: a real server, two command lines, one search, and a password that nothing tells."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer, missing_programs, started_server

from conftest import QUIET, Cli

TYPED = (
    "run", "-m", "sweeps=mine.yaml", *QUIET, "sweep.n_trials=6", "sweep.sampler=random", "budget.steps=5",
)  # fmt: skip
SEARCH = """
sweep:
  objectives: ["validation/loss: minimize"]
overrides:
  - task=tabular
  - "optimizer.lr=tag(log, interval(1e-4, 1e-1))"
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if missing := missing_programs():
        pytest.skip(f"PostgreSQL is not installed ({', '.join(missing)}): apt-get install postgresql")
    with started_server() as server:
        yield server


@pytest.mark.slow
def test_two_machines_share_one_search_and_its_password_stands_nowhere(cli: Cli, postgres: PostgresServer) -> None:
    """Two command lines with stores of their own, as machines have them."""
    (cli.cwd / "mine.yaml").write_text(SEARCH)
    storage = f"sweep.storage={postgres.url}"
    both = [cli.popen(*TYPED, storage, f"store={store}") for store in ("here", "there")]
    told = []
    for one in both:
        output, errors = one.communicate(timeout=120)
        assert one.returncode == 0, errors
        told += [output, errors]
    runs = {where: sorted((cli.cwd / where / "sweeps").glob("*-mine/*/result.json")) for where in ("here", "there")}
    records = [json.loads(one.read_text()) for found in runs.values() for one in found]
    assert all(runs.values()), "each made some of the trials"
    # Each may have begun its last one while the other made the last that was asked for.
    assert 6 <= len(records) <= 7
    assert {one["status"] for one in records} == {"ok"}
    rates = {one["config"]["optimizer"]["lr"] for one in records}
    assert len(rates) == len(records), "none is proposed to both"
    for text in told:
        assert postgres.password not in text
    for file in (one for one in cli.cwd.rglob("*") if one.is_file()):
        assert postgres.password.encode() not in file.read_bytes(), file
    again = cli(*TYPED, storage, "store=here")
    assert postgres.password not in again.stdout + again.stderr
    assert f"{len(records)} trials; in here/sweeps/" in again.stdout, "each machine sees the trials of both"


def test_a_storage_that_refuses_us_is_told_in_a_line_without_its_password(cli: Cli, postgres: PostgresServer) -> None:
    (cli.cwd / "mine.yaml").write_text(SEARCH)
    wrong = postgres.url.replace(postgres.password, "not-the-pass-word")
    for url in (wrong, postgres.url.replace(str(postgres.port), "1")):
        message = cli.refused(*TYPED, f"sweep.storage={url}", code=4)
        assert message.startswith(f"sweep.storage=postgresql+psycopg://{postgres.user}:***@127.0.0.1")
        assert postgres.password not in message
        assert "not-the-pass-word" not in message
    assert not any(one.is_file() for one in cli.store.rglob("*"))
