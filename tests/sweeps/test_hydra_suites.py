"""Hydra's own suites for plugins, with our sweeper in programs that are not ours."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite

OURS = "hydra/sweeper=thrifty"

pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions:UserWarning")  # their programs are of an older style


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
