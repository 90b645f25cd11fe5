"""`dolma.data.storage.local`: files of this machine."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from pathlib import Path

import pytest

from dolma.data.storage import local
from dolma.data.storage.local import Local
from dolma.errors import ConfigError, WriteError


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


def test_a_folder_that_goes_as_soon_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makedirs, left = os.makedirs, [3]

    def make_and_remove(folder: str, **named: bool) -> None:
        makedirs(folder, **named)
        left[0] -= 1
        if left[0] > 0:
            os.rmdir(folder)

    monkeypatch.setattr(os, "makedirs", make_and_remove)
    with Local().atomic_path(str(tmp_path / "a" / "b.txt")) as temporary:
        Path(temporary).write_text("whole")
    assert (tmp_path / "a" / "b.txt").read_text() == "whole"
    assert left == [0]


def test_a_folder_that_goes_while_it_is_found_to_be_there_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, left = os.mkdir, [2]

    def is_there_until_looked_at(path: str, mode: int = 0o777) -> None:
        left[0] -= 1
        if left[0] > 0:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", is_there_until_looked_at)
    with Local().atomic_path(str(tmp_path / "a" / "b.txt")) as temporary:
        Path(temporary).write_text("whole")
    assert (tmp_path / "a" / "b.txt").read_text() == "whole"


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    said = r"a/b\.txt: cannot be written: (Not a directory|File exists)"
    with pytest.raises(WriteError, match=said), Local().atomic_path(str(tmp_path / "a" / "b.txt")):
        pass


def test_a_temporary_file_of_a_process_with_the_same_number_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines that share a folder may number processes alike."""
    monkeypatch.setattr(local, "_counter", itertools.count())
    others = tmp_path / f".a.txt.{os.getpid()}-0.tmp"
    others.write_text("another machine's")
    with Local().atomic_path(str(tmp_path / "a.txt")) as temporary:
        Path(temporary).write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert others.read_text() == "another machine's"


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    with Local().atomic_path(str(tmp_path / "a.txt")) as temporary:
        Path(temporary).write_text("whole")
        local.remove_leftover(temporary)
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("is_removed", [True, False])
def test_what_was_taken_for_a_leftover_before_it_was_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    flock, taken = fcntl.flock, []

    def take_it_away_first(descriptor: int, how: int) -> None:
        if not taken:
            taken.append(next(tmp_path.iterdir()).open("rb+"))
            flock(taken[0].fileno(), how)
            if is_removed:
                Path(taken[0].name).unlink()
                taken[0].close()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", take_it_away_first)
    with Local().atomic_path(str(tmp_path / "a.txt")) as temporary:
        assert temporary != taken[0].name
        Path(temporary).write_text("whole")
    taken[0].close()
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_folder_that_another_machine_has_removed_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(path: str) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", path)

    monkeypatch.setattr(os, "scandir", stale)
    assert list(Local().paths(str(tmp_path))) == []


# --- paths that are no outputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["~", "~/runs", "$HOME/runs", "runs/${HOME}"])
def test_what_only_a_shell_knows_is_no_output(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    with pytest.raises(ConfigError, match=r"are the shell's, .*\n  write '(runs/)?/home/me(/runs)?'"):
        Local().check_writable(path)


@pytest.mark.parametrize("path", ["", " ", "\n"])
def test_a_blank_is_no_output(path: str) -> None:
    with pytest.raises(ConfigError, match="an output has an empty path\n  a variable of the shell"):
        Local().check_writable(path)


@pytest.mark.parametrize("path", ["runs/" + "a" * 256, "é" * 128, "a/" * 2000])
def test_what_no_file_system_takes_is_no_output(path: str) -> None:
    with pytest.raises(ConfigError, match="a name has more than 255 bytes, or there are more than 200 folders"):
        Local().check_writable(path)


@pytest.mark.parametrize("path", ["a" * 255, "a~", "a/~/b", "cost$", "/", ".", "..", "\x1b[1m", "file:///a"])
def test_odd_names_are_outputs(path: str) -> None:
    Local().check_writable(path)
