"""Commands that are killed in the middle: a point of each here, or all of them and all faults.

``HUD_FAST_FAULTS=all``, or `tests/faults.py` as a program, goes through every file operation of every command.
"""

from __future__ import annotations

import os

import pytest
from faults import FAULTS, Trial, jobs, prepare

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks")
EVERY = os.environ.get("HUD_FAST_FAULTS") == "all"
# With the model half in its place; between the old set of cubes and the new one.
FEW = [("run", "kill", 23), ("sample --overwrite", "kill", 15), ("sample --overwrite", "full", 5)]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    home = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        # the work in this process is to be small, too
        patch.setattr("hud_fast.pipeline.run.run_figures", lambda *_: {})
        scene, run = prepare(home)
    names = {name for name, *_ in FEW}
    return {n: Trial(job, home) for n, job in jobs(scene, run).items() if EVERY or n in names}


@pytest.mark.skipif(EVERY, reason="all are met below")
@pytest.mark.parametrize(("name", "fault", "at"), FEW)
def test_the_same_command_ends_as_if_nothing_had_happened(
    trials: dict[str, Trial], name: str, fault: str, at: int
) -> None:
    assert trials[name].survived(fault, at)


@pytest.mark.skipif(not EVERY, reason="half an hour: set HUD_FAST_FAULTS=all")
@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_of_every_command(trials: dict[str, Trial], fault: str) -> None:
    for trial in trials.values():
        at = 0
        while trial.survived(fault, at):
            at += 1
        assert at > 5
