"""`pytest tests/e2e/test_overwrite_kill.py`: a run that replaces an output, killed in any phase of any stage.

All in one process: `Killed` stands for a kill, as nothing of ours catches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma.errors import OutputExistsError
from dolma.runner import stage
from dolma.runner.options import RunOptions
from tests.e2e.every_phase import STAGES, Killed, KillOnce, before, make, run, small, tree

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OTHER: dict[str, dict[str, Any]] = {
    "measured": {"max_document_bytes": 40},
    "copies": {"min_length": 40},
    "lines": {"min_length": 40},
    "known": {"min_length": 40},
    "repeated": {"min_tokens": 12},
    "embedded": {"max_document_bytes": 40},
    "meant": {"threshold": 0.6},
    "kept": {"drop": []},
    "sampled": {"sources": {"one": {"repeat": 1}, "two": {"repeat": 2}}},
    "apart": {"holdout": {"share": 0.3}},
    "arranged": {"parts": 2},
    "split": {"part_bytes": "3k"},
    "tokens": {"max_tokens_per_shard": 500},
    "counted": {"bins": 5},
}
"""Settings of each stage that make another output."""
READS = {
    **dict.fromkeys(["copies", "lines", "known"], "hash"),
    "repeated": "seeds",
    "meant": "vectors",
    "sampled": "decide",
    "apart": "decide",
    "arranged": "decide",
    "tokens": "encode",
    "counted": "count",
}
"""Phases that read documents before anything is written."""
AGAIN = RunOptions(workers=1, overwrite=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("whole")
    with small():
        make(home)
        yield home


def seen(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those that are not hidden."""
    return {path: held for path, held in files.items() if not path.startswith(".") and "/." not in path}


@pytest.mark.parametrize("name", STAGES)
def test_a_run_killed_in_any_phase_and_started_again(whole: Path, tmp_path: Path, name: str) -> None:
    spared: set[str] = set()
    while True:
        home = before(whole, name, tmp_path / str(len(spared)))
        run(home, name, RunOptions(workers=1), **OTHER[name])
        old = tree(home, name)
        assert old != tree(whole, name)
        with KillOnce(spared) as kill:
            run(home, name, AGAIN)
        if kill.at in {READS.get(name)}:
            assert seen(tree(home, name)) == seen(old)
        run(home, name, AGAIN)
        assert tree(home, name) == tree(whole, name), kill.at
        if not kill.at:
            break
        spared.add(kill.at)
    assert {READS.get(name, "the manifest"), "the manifest"} <= spared


@pytest.mark.parametrize("name", STAGES)
def test_a_run_killed_at_each_removal_of_the_old_output(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    remove, n_kills = stage._remove_outputs, 0
    for n in range(100):
        home, left = before(whole, name, tmp_path / str(n)), n

        def removing(folder: str, paths: Any) -> None:
            nonlocal left, n_kills
            for path in paths:
                if not left:
                    n_kills += 1
                    raise Killed
                left -= 1
                remove(folder, [path])

        run(home, name, RunOptions(workers=1), **OTHER[name])
        with monkeypatch.context() as patch:
            patch.setattr(stage, "_remove_outputs", removing)
            try:
                run(home, name, AGAIN)
            except Killed:
                pass
        run(home, name, AGAIN)
        assert tree(home, name) == tree(whole, name), n
        if n_kills <= n:
            break
    assert n_kills


@pytest.mark.parametrize("name", READS)
def test_what_a_killed_run_was_to_replace_is_still_an_output(whole: Path, tmp_path: Path, name: str) -> None:
    home = before(whole, name, tmp_path / "home")
    run(home, name, RunOptions(workers=1), **OTHER[name])
    old = tree(home, name)
    with KillOnce(set()) as kill:
        run(home, name, AGAIN)
    assert kill.at == READS[name]
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(home, name, RunOptions(workers=1))
    run(home, name, RunOptions(workers=1), **OTHER[name])
    assert tree(home, name) == old
