"""What can go wrong, as one small tree; `dolma.cli` maps it to exit statuses and nothing else catches it all.

    DolmaError                  1
    ├── ConfigError             2   the recipe or a flag is wrong; nothing was read
    │   ├── MissingExtraError   2   an optional package is not installed
    │   └── OutputExistsError   2   the output folder holds something else than this run would write
    ├── DataError               3   what lies on disk is wrong: `file:line: …`
    │   ├── RecordError         3   one record; `--on-error skip|quarantine` goes on without it
    │   └── AlignmentError      3   attributes do not belong to the documents beside them
    ├── LedgerError             1   a stage cannot account for every document: a defect of ours
    ├── WorkerError             1   a worker process died; says on which file
    ├── SkippedRecordsError     4   the run finished, but skipped more records than `--max-errors` allows
    └── UnmeasuredError         4   the run finished, but taggers failed on more documents than `--max-errors` allows

Every message says what was given, what was expected and, on a line of its own, indented by two spaces, what to type
next. What comes from elsewhere stands in it by `!r` or as `printable`, so that it has no lines of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from dolma.printable import printable


class DolmaError(Exception):
    """The root: anything that `dolma` raises on purpose."""

    exit_status = 1

    def __reduce__(self) -> tuple:
        # Errors travel from workers to the parent whole, whatever their constructor takes.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[DolmaError], args: tuple, state: dict) -> DolmaError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(DolmaError):
    """The recipe or a flag is wrong. `path` is the key's path (`$.mix.keep[2]`), empty when not one key's fault."""

    exit_status = 2

    def __init__(self, message: str, *, path: str = "", file: str = "") -> None:
        self.path, self.file, self.message = path, file, message
        super().__init__(": ".join(part for part in (printable(file), printable(path), message) if part))


class MissingExtraError(ConfigError):
    """An optional package is needed and not installed.

    >>> str(MissingExtraError("ray", extra="ray", purpose="--executor ray"))
    "--executor ray needs the package 'ray', which is not installed\\n  run `pip install 'dolma[ray]'`"
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed\n  run `pip install 'dolma[{extra}]'`"
        )


class OutputExistsError(ConfigError):
    """The output folder holds something that this run would not have written."""


class DataError(DolmaError):
    """What lies on disk is wrong. `line` is 1-based; `offset` is a byte offset in the decompressed file."""

    exit_status = 3

    def __init__(self, message: str, *, file: str = "", line: int | None = None, offset: int | None = None) -> None:
        self.file, self.line, self.offset, self.message = file, line, offset, message
        where = printable(file) + (f":{line}" if line is not None else "")
        at = f" (byte {offset})" if offset is not None else ""
        first, newline, more = message.partition("\n")
        super().__init__((f"{where}: " if where else "") + first + at + newline + more)


class RecordError(DataError):
    """One record cannot be used; the rest of its file can."""


class AlignmentError(DataError):
    """An attribute file does not have the rows and ids of its document file."""


class LedgerError(DolmaError):
    """A stage's account does not balance."""


class WorkerError(DolmaError):
    """A worker process died."""


class SkippedRecordsError(DolmaError):
    """The run finished, but left out more records than allowed."""

    exit_status = 4


class UnmeasuredError(DolmaError):
    """The run finished, but taggers failed on more documents than allowed."""

    exit_status = 4


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """`"did you mean 'x'?"` for the nearest valid name, or the list of valid names when none is near.

    >>> did_you_mean("gophr", ["gopher", "pii"])
    "did you mean 'gopher'?"
    >>> did_you_mean("zzz", ["gopher", "pii"])
    'valid: gopher, pii'
    """
    valid = sorted(valid)
    near = difflib.get_close_matches(given, valid, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
