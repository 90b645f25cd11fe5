"""`pytest tests/e2e/test_shard_kill.py`: a shard killed in any phase of any stage; the output is that of one process.

All in one process: `Killed` stands for a kill, as nothing of ours catches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma.errors import Unfinished
from dolma.runner.options import RunOptions
from tests.e2e.every_phase import PHASES, STAGES, KillOnce, before, make, run, small, tree

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROUNDS = 20
"""More than any stage has phases."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("whole")
    with small():
        make(home)
        yield home


def attempt(home: Path, name: str, options: RunOptions) -> bool:
    """Run as far as other shards allow; whether that is to the end."""
    try:
        run(home, name, options)
    except Unfinished:
        return False
    return True


@pytest.mark.parametrize("name", STAGES)
def test_a_shard_killed_in_any_phase_and_started_again(whole: Path, tmp_path: Path, name: str) -> None:
    first, second = (RunOptions(workers=1, shard=(i, 2), wait=False) for i in (1, 2))
    spared: set[str] = set()
    while True:
        home = before(whole, name, tmp_path / str(len(spared)))
        ended, killed = {1: False, 2: False}, ""
        for _ in range(ROUNDS):
            ended[2] = attempt(home, name, second)
            with KillOnce(spared) as kill:
                ended[1] = attempt(home, name, first)
            killed = kill.at or killed
            if kill.at or all(ended.values()):
                break
        for _ in range(ROUNDS):
            if all(ended.values()):
                break
            ended = {i: attempt(home, name, options) for i, options in ((1, first), (2, second))}
        assert tree(home, name) == tree(whole, name), killed
        if not killed:
            break
        spared.add(killed)
    assert {*PHASES[name], "the manifest"} <= spared
