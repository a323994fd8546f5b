"""Hydra's own suites for plugins, with our sweeper in programs that are not ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.version import VersionBase
from packaging.version import Version

OURS = "hydra/sweeper=thrifty"

pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions:UserWarning")  # their programs are of an older style


@pytest.fixture(autouse=True)
def behaviour_of_their_programs() -> Iterator[None]:
    """Hydra remembers the version asked for last in a process, as other tests do; these programs ask for none."""
    base = VersionBase.instance()
    asked_before = base.version_base
    base.setbase(Version("1.1"))
    yield
    base.version_base = asked_before


def test_hydra_finds_it() -> None:
    assert "ThriftySweeper" in [one.__name__ for one in Plugins.instance().discover(Sweeper)]


@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", [OURS])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", [OURS, "hydra.sweeper.max_batch_size=2"])])
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", OURS])])
class TestIntegration(IntegrationTestSuite):
    pass
