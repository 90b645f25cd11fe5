"""Which files a pattern or a folder names as documents, and which it leaves out, and why.

A folder and a pattern give the same answer. `**` crosses folders, links to folders are followed, and below the part of
the pattern that has no wildcard these are no documents:

- hidden files and folders, and those whose name begins with `_` (Spark, Delta Lake, Hive);
- the four files that Hugging Face's `datasets` writes beside data;
- folders called `attributes`, and folders that a stage of ours writes: they hold `manifest.json` or `.journal`;
- files whose suffixes are of no document format;
- objects of a bucket with an empty name, `.` or `..` in their path;
- what `exclude` names.

A name that stands in the pattern without a wildcard is never left out. A link to nothing is an error.
"""

from __future__ import annotations

import fnmatch
import glob as local_globbing
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dolma.data import streams
from dolma.data.formats.table import EXPECTED, is_document
from dolma.data.manifest import NAME, NAMES, stage_of
from dolma.data.storage.reading import allowed
from dolma.errors import ConfigError, DataError, nearest
from dolma.printable import printable
from dolma.stages import kind_written

NO_PATH = "with an empty name, `.` or `..` in the path"
HIDDEN = "hidden"
UNDERSCORE = "with a name that begins with `_`"
HUGGING_FACE = "of Hugging Face's own"
ATTRIBUTES = "called `attributes`"
OUTPUT = "written by dolma"
PLACE = "where this command itself is to write"
LOOP = "linked to a folder above"
NO_FORMAT = "of no document format"
EXCLUDED = "excluded"

_HUGGING_FACE = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_JOURNAL = ".journal"
_WORK = ".work"
_NAMES_SHOWN = 3


class Found(NamedTuple):
    """The document files, sorted; and what was left out, by reason. A folder that was left out ends with a slash.

    `entries`: what a remote storage said of the files that it listed, by path.
    """

    paths: list[str]
    left_out: dict[str, list[str]]
    entries: Mapping[str, streams.Entry] = {}


def find(pattern: str, *, exclude: Sequence[str] = (), outputs: Sequence[str] = ()) -> Found:
    """The document files that a path, a folder or a pattern names.

    An `exclude` without a slash is compared with the name of each file and folder, one with a slash with the path.
    `outputs` are folders that the command writes to: they are left out, unless the pattern lies in one of them.
    A URL without a wildcard is taken as it is, and so is a file.

    Raises:
        ConfigError: nothing is found; the pattern names the output of a stage, or a file of no format.
        DataError: a folder cannot be read; a link leads nowhere; a name is not UTF-8.
    """
    pattern = streams.local_path(pattern)
    remote = streams.is_url(pattern)
    if remote and not streams.can_list(pattern):
        if any(c in pattern for c in "*["):
            raise ConfigError(f"{printable(pattern)}: wildcards work for local paths and buckets; name each file")
        return Found([pattern], {})
    if os.path.isfile(pattern) or (remote and is_document(pattern) and not is_wild(pattern)):  # brackets in a name, too
        if not is_document(pattern):
            raise ConfigError(f"{printable(pattern)} is no document file\n  expected {EXPECTED}")
        if any(_excludes(one, os.path.basename(pattern), pattern, pattern) for one in exclude):
            return Found([], {EXCLUDED: [pattern]})
        _check_name(pattern)
        return Found([pattern], {})
    folder = not is_wild(pattern) if remote else os.path.isdir(pattern)
    base, parts = (pattern.rstrip("/") or "/", ["**"]) if folder else _split(pattern)
    entries = streams.list_entries(base + "/" if folder else _before_wildcard(pattern)) if remote else None
    keys = None if entries is None else [entry.path for entry in entries]
    selection = _Selection(base, parts, exclude=exclude, outputs=outputs, keys=keys)
    if keys is None:
        _walk(selection, (), [])
    else:
        _select_keys(selection, keys)
    if not selection.paths and EXCLUDED not in selection.left_out:
        raise ConfigError(f"no document file matches '{printable(pattern)}'\n  {_hint(pattern, selection)}")
    return Found(sorted(selection.paths), selection.left_out, {entry.path: entry for entry in entries or ()})


def describe(left_out: Mapping[str, Sequence[str]]) -> str:
    """What was left out, in one line; "" when nothing was.

    >>> describe({UNDERSCORE: ["data/_SUCCESS", "data/_delta_log/"], NO_FORMAT: ["data/README.md"]})
    '2 with a name that begins with `_` (data/_SUCCESS, data/_delta_log/); 1 of no document format (data/README.md)'
    """
    said = []
    for reason, paths in left_out.items():
        more = ", ..." if len(paths) > _NAMES_SHOWN else ""
        said.append(f"{len(paths):,} {reason} ({', '.join(sorted(paths)[:_NAMES_SHOWN])}{more})")
    return "; ".join(said)


def unmatched(exclude: Sequence[str], left_out: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of the names and paths to exclude that left nothing out.

    >>> unmatched(["*.bak", "old/", "x/b.jsonl"], {EXCLUDED: ["data/a.bak", "data/x/b.jsonl"]})
    ['old/']
    """
    paths = [path.rstrip("/") for path in left_out.get(EXCLUDED, ())]
    parts = [path.split("/") for path in paths]
    belows = [(path, "/".join(names[i:])) for path, names in zip(paths, parts, strict=True) for i in range(len(names))]
    return [
        pattern
        for pattern in exclude
        if not any(_excludes(pattern, os.path.basename(path), path, below) for path, below in belows)
    ]


def fixed_prefix(pattern: str) -> str:
    """The folder of a pattern that holds no wildcard: what all its matches have in common.

    >>> fixed_prefix("data/*/documents/*.gz"), fixed_prefix("data/books/documents/a.jsonl")
    ('data', 'data/books/documents')
    """
    return _split(pattern)[0] if is_wild(pattern) or is_document(pattern) else pattern.rstrip("/")


def is_wild(pattern: str) -> bool:
    """Whether a pattern may match several paths."""
    return any(c in pattern for c in "*?[")


def _before_wildcard(pattern: str) -> str:
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _split(pattern: str) -> tuple[str, list[str]]:
    """The folder before the first wildcard, and the names and patterns that follow it."""
    fixed = _before_wildcard(pattern)
    base = fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else "")
    return base, [part for part in pattern[len(base) :].split("/") if part not in ("", ".")]


class _Selection:
    """Takes what lies below `base`, name by name, and keeps the documents. `keys` are all names there, of a bucket."""

    def __init__(
        self,
        base: str,
        parts: list[str],
        *,
        exclude: Sequence[str],
        outputs: Sequence[str],
        keys: Sequence[str] | None = None,
    ) -> None:
        self.base, self.parts = base, parts
        self.paths: list[str] = []
        self.left_out: dict[str, list[str]] = {}
        self.folders: list[str] = []  # that match where files were asked for
        self._matches = re.compile(_regex("/" + "/".join(parts))).match
        self._folder_matches = [re.compile(_regex("/" + part)).match for part in parts]
        self._explicit = {part for part in parts if not is_wild(part)}
        self._exclude = exclude
        self._outputs = {streams.real_path(path) for path in outputs if not streams.is_below(base or ".", path)}
        self._keys = None if keys is None else set(keys)
        made_by = stage_of(base or ".")
        kind = kind_written(made_by or "")
        if parts == ["**"] and kind in ("attributes", "tokens"):
            raise ConfigError(
                f"{printable(base)} is the output of `{made_by}`, which holds no documents"
                "\n  expected a folder of documents"
            )
        self._inside_mix = kind == "documents"

    def path(self, names: Sequence[str]) -> str:
        return streams.join(self.base, *names) if self.base else "/".join(names)

    def enters(self, names: tuple[str, ...]) -> bool:
        """Whether documents may lie in this folder; says so where it is left out."""
        reached = any("**" in part for part in self.parts[: len(names)])
        if not reached:
            last = len(names) - 1
            if not self._folder_matches[last]("/" + names[last]):
                return False
            if len(names) == len(self.parts):
                self.folders.append(self.path(names))
                return False
        if names[-1] in (_JOURNAL, _WORK):
            return False
        return not self._leave_out(self._reason(names) or self._folder_reason(names), names, "/")

    def take(self, names: tuple[str, ...]) -> bool:
        """Keep this file if it is a document and matches; whether it did."""
        hidden = names[-1].startswith(".") and self.parts == ["**"] and is_document(names[-1])
        if not hidden and not self._matches("/" + "/".join(names)):
            return False
        if self._leave_out(self._reason(names) or self._file_reason(names), names):
            return False
        path = self.path(names)
        _check_name(path)
        self.paths.append(path)
        return True

    def wants_link(self, names: tuple[str, ...]) -> bool:
        """Whether a link to nothing would have been taken, had it led to a file or a folder."""
        matched = self._matches("/" + "/".join(names)) is not None
        asked = matched or any("**" in part for part in self.parts[: len(names)])
        if not asked and len(names) < len(self.parts):
            asked = self._folder_matches[len(names) - 1]("/" + names[-1]) is not None
        return asked and self._reason(names) is None

    def loop(self, names: tuple[str, ...]) -> None:
        self._leave_out(LOOP, names, "/")

    def no_path(self, key: str) -> None:
        """Leave out an object whose key is no path below the folder."""
        self.left_out.setdefault(NO_PATH, []).append(key)

    def _leave_out(self, reason: str | None, names: tuple[str, ...], slash: str = "") -> bool:
        if reason is not None:
            self.left_out.setdefault(reason, []).append(self.path(names) + slash)
        return reason is not None

    def _reason(self, names: tuple[str, ...]) -> str | None:
        """Why neither a file nor a folder of this name is taken."""
        name, path = names[-1], self.path(names)
        if any(_excludes(pattern, name, path, "/".join(names)) for pattern in self._exclude):
            return EXCLUDED
        if self._outputs and streams.real_path(path) in self._outputs:
            return OUTPUT if os.path.isdir(path) else PLACE
        if self._inside_mix and len(names) == 1 and name != "documents":
            return OUTPUT
        if any(part[0] == name[0] for part in self.parts):  # `_*` and `.*` ask for such names
            return None
        return {".": HIDDEN, "_": UNDERSCORE}.get(name[0])

    def _folder_reason(self, names: tuple[str, ...]) -> str | None:
        name, path = names[-1], self.path(names)
        if name == "attributes" and name not in self._explicit:
            return ATTRIBUTES
        finished = any(self._holds(path, name) for name in NAMES)
        if self._holds(path, f"{_JOURNAL}/run.json") and not finished:
            return OUTPUT
        made_by = stage_of(path) if finished else None
        asked = name in self._explicit or (kind_written(made_by or "") == "documents" and "documents" in self._explicit)
        return None if made_by is None or asked else OUTPUT

    def _holds(self, folder: str, below: str) -> bool:
        path = streams.join(folder, below)
        return os.path.isfile(path) if self._keys is None else path in self._keys

    def _file_reason(self, names: tuple[str, ...]) -> str | None:
        name = names[-1]
        if not is_document(name):
            return NO_FORMAT
        if name in self._explicit:
            return None
        if name in _HUGGING_FACE:
            return HUGGING_FACE
        return OUTPUT if name == NAME and stage_of(self.path(names[:-1])) is not None else None


def _walk(selection: _Selection, names: tuple[str, ...], above: list[tuple[int, int]]) -> None:
    folder = selection.path(names) or "."
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(
            f"cannot list this folder: {error.strerror}\n  {allowed(error, 'u+rx')}", file=folder
        ) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        selection.loop(names)
        return
    for entry in entries:
        below = (*names, entry.name)
        if os.path.isdir(entry.path):
            if selection.enters(below):
                _walk(selection, below, [*above, here])
        elif os.path.isfile(entry.path):
            selection.take(below)
        elif entry.is_symlink() and selection.wants_link(below):
            raise DataError(
                f"a link to {os.readlink(entry.path)!r}, which is not there\n"
                f"  mend the link, or leave it out: `--exclude {entry.name!r}`",
                file=selection.path(below),
            )
        elif is_document(entry.name) and selection.take(below):
            raise DataError(
                "neither a file nor a folder\n  give regular files, or folders of them", file=selection.path(below)
            )


def _select_keys(selection: _Selection, keys: Sequence[str]) -> None:
    entered: dict[tuple[str, ...], bool] = {(): True}

    def enters(names: tuple[str, ...]) -> bool:
        if names not in entered:
            entered[names] = enters(names[:-1]) and selection.enters(names)
        return entered[names]

    for key in keys:
        names = tuple(key[len(selection.base) :].removeprefix("/").split("/"))
        if any(name in ("", ".", "..") for name in names):
            selection.no_path(key)
        elif enters(names[:-1]):
            selection.take(names)


def _excludes(pattern: str, name: str, path: str, below: str) -> bool:
    if "/" not in pattern.rstrip("/"):
        return fnmatch.fnmatchcase(name, pattern.rstrip("/"))
    matches = re.compile(_regex(pattern.rstrip("/"))).match
    return matches(path) is not None or matches(below) is not None


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{ascii(os.fsencode(path))[1:]}: the name is not UTF-8\n"
            "  rename it (`convmv -f latin1 -t utf8 --notest` does it for a folder), or leave it out with `--exclude`"
        ) from error


def _regex(pattern: str) -> str:
    out, i = "", 0
    while i < len(pattern):
        hidden = r"(?!\.)" if pattern[i - 1] == "/" else ""  # a wildcard does not match a leading dot
        if pattern.startswith("**/", i):
            out, i = out + r"(?:(?!\.)[^/]+/)*", i + 3
        elif pattern.startswith("**", i):
            out, i = out + r"(?:(?!\.)[^/]+/)*(?!\.)[^/]*", i + 2
        elif pattern[i] == "*":
            out, i = out + hidden + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + hidden + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i + 2 :]:
            end = pattern.index("]", i + 2)
            negated = pattern[i + 1] == "!"
            inside = re.escape(pattern[i + 1 + negated : end]).replace(r"\-", "-")
            out, i = out + hidden + f"[{'^/' if negated else ''}{inside}]", end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return out + r"\Z"


# --- what may have been meant ----------------------------------------------------------------------------------------


def _hint(pattern: str, selection: _Selection) -> str:
    """What to type instead of a pattern that matches nothing."""
    if selection.folders:
        folder = selection.folders[0]
        return f"{folder} is a folder: give it, or {folder + '/*'!r}"
    if selection.left_out:
        return f"left out: {describe(selection.left_out)}\n  a file or folder that is named without a wildcard is read"
    if pattern.startswith("~") and (home := os.path.expanduser(pattern)) != pattern:
        return f"`~` is the shell's, which leaves it alone within quotes: write {home!r}"
    if "$" in pattern and (expanded := os.path.expandvars(pattern)) != pattern:
        return f"variables are the shell's, which leaves them alone within single quotes: write {expanded!r}"
    if braces := re.search(r"\{([^{}]*,[^{}]*)\}", pattern):
        written = " ".join(f"--documents {_with(pattern, braces, part)!r}" for part in braces[1].split(","))
        return f"braces are the shell's, and mean nothing here: write {written}"
    if literal := _bracketed(pattern):
        return f"`[` begins a set of characters, and {literal[0]!r} is there: write {literal[1]!r}"
    if absent := absent_folder(pattern):
        return absent
    return f"expected {EXPECTED}"


def absent_folder(path: str) -> str:
    """What to say of a local path that is not there, with the nearest name beside it; "" of any other."""
    path = streams.local_path(path)
    if streams.is_url(path) or is_wild(path) or os.path.lexists(path):
        return ""
    parent, name = os.path.split(path.rstrip("/"))
    here = parent or "."
    near = nearest(name, os.listdir(here)) if os.path.isdir(here) and os.access(here, os.R_OK) else None
    meant = f"; did you mean {printable(os.path.join(parent, near))}?" if near is not None else ""
    return f"there is no {printable(path)}{meant}"


def _with(pattern: str, braces: re.Match[str], part: str) -> str:
    return pattern[: braces.start()] + part + pattern[braces.end() :]


def _bracketed(pattern: str) -> tuple[str, str] | None:
    """A folder or file on disk that has the brackets of the pattern in its name, and the pattern that finds it."""
    parts = pattern.split("/")
    for i in range(len(parts), 0, -1):
        head = "/".join(parts[:i])
        if "[" in parts[i - 1] and os.path.exists(head):
            return head, "/".join([local_globbing.escape(head), *parts[i:]])
    return None
