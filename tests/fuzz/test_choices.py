"""What the fuzzing itself does: choices from bytes, and the guard."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.choices import Choices
from tests.fuzz.guard import Escape, guarded


def test_the_same_bytes_make_the_same_choices() -> None:
    one, two = Choices(bytes(range(200))), Choices(bytes(range(200)))
    assert [one.below(10) for _ in range(20)] == [two.below(10) for _ in range(20)]
    assert one.changed(b"content") == two.changed(b"content") != b"content"


def test_choices_end_with_the_bytes() -> None:
    choices = Choices(b"")
    assert (choices.below(1 << 40), choices.pick("ab"), choices.chance(2), choices.rest()) == (0, "a", False, b"")


def test_a_program_is_not_started(tmp_path: Path) -> None:
    with guarded(tmp_path), pytest.raises(Escape, match=r"os\.system"):
        os.system("true")
    with guarded(tmp_path), pytest.raises(Escape, match=r"subprocess\.Popen"):
        subprocess.run(["true"])
    assert subprocess.run(["true"]).returncode == 0


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with guarded(inside), pytest.raises(Escape, match="open"):
        (tmp_path / "outside").write_text("")
    with guarded(inside):
        (inside / "file").write_text("")
    assert not (tmp_path / "outside").exists()
