"""`dolma.data.storage.local`: files of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma.data.storage.local import Local


def test_a_tree_is_removed_while_another_process_removes_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b/c", "b/d"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    unlink = os.unlink

    def unlink_what_has_just_gone(*arguments: object, **named: object) -> None:
        unlink(*arguments, **named)  # type: ignore[arg-type]
        unlink(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", unlink_what_has_just_gone)
    Local().remove_tree(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
