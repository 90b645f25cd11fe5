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
    ├── WriteError              1   an output cannot be written: the disk is full, or nobody may write there
    ├── SkippedRecordsError     4   the run finished, but skipped more records than `--max-errors` allows
    ├── UnmeasuredError         4   the run finished, but taggers failed on more documents than `--max-errors` allows
    └── Unfinished              5   this part of the stage is done, others are not (`--no-wait`)

Every message says what was given, what was expected and, on a line of its own, indented by two spaces, what to type
next. What comes from elsewhere stands in it by `!r` or as `printable`, so that it has no lines of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from dolma.printable import printable


class DolmaError(Exception):
    """The root: anything that `dolma` raises on purpose."""

    exit_status = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel from workers to the parent whole, whatever their constructor takes.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[DolmaError], args: tuple[Any, ...], state: dict[str, Any]) -> DolmaError:
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


class WriteError(DolmaError):
    """An output cannot be written. `file` is the output, as it was to be called."""

    def __init__(self, message: str, *, file: str) -> None:
        self.file = file
        super().__init__(f"{printable(file)}: {message}")


class SkippedRecordsError(DolmaError):
    """The run finished, but left out more records than allowed."""

    exit_status = 4


class UnmeasuredError(DolmaError):
    """The run finished, but taggers failed on more documents than allowed."""

    exit_status = 4


class Unfinished(DolmaError):
    """This shard's part of a stage is done as far as it can be, and those of others are not."""

    exit_status = 5


# What Dolma 1.x, datatrove and Hugging Face call what has another name here, the first of these that there is, or none;
# `-` is as good as `_`.
_ELSEWHERE = {
    "analyze": "stat",
    "filter": "mix",
    "ignore_existing": "overwrite",
    "tagger_modules": "taggers",
    "taggers_modules": "taggers",
    "tokenizer.name_or_path": "tokenizer",
    "dedupe.name": "name",
    "attribute_name": "name",
    "dedupe.documents.attribute_name": "name",
    "dedupe.paragraphs.attribute_name": "name",
    "processes": "workers",
    "num_proc": "workers",
    "num_workers": "workers",
    "tasks": "workers",
    "jobs": "workers",
    "dryrun": "dry_run",
    "destination": "output attributes",
    "output_dir": "output attributes",
    "output_folder": "output attributes",
    "work_dir": "",
    "inputs": "documents",
    "input_folder": "documents",
    "data_folder": "documents",
    "tagger": "taggers",
    "filters": "keep",
    "streams": "mix",
    "span_replacement": "spans",
    "tokenizer_name_or_path": "tokenizer",
    "eos_token_id": "eos",
    "max_size": "max_tokens_per_shard",
    "skip_on_failure": "on_error",
    "random_seed": "seed",
    "quiet": "no_progress",
    "force": "overwrite",
    "lr": "learning_rate",
    "max_steps": "steps",
    "max_sequence_length": "sequence_length",
    "text_field": "text",
    "id_field": "id",
    "source_field": "source",
}


_LISTED = 24  # names


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """`"did you mean 'x'?"` for the nearest valid name, or the list of valid names when none is near.

    Another tool's name for something is as near as can be, and leading `-` are those of an option.

    >>> did_you_mean("gophr", ["gopher", "pii"])
    "did you mean 'gopher'?"
    >>> did_you_mean("--num-proc", ["--progress", "--workers"])
    "did you mean '--workers'?"
    >>> did_you_mean("zzz", ["gopher", "pii"])
    'valid: gopher, pii'
    """
    valid = sorted(valid)
    near = nearest(given, valid)
    if near is not None:
        return f"did you mean {near!r}?"
    more = f" and {len(valid) - _LISTED} more" if len(valid) > _LISTED + 1 else ""
    return f"valid: {', '.join(valid[:_LISTED] if more else valid)}{more}"


def nearest(given: str, valid: Iterable[str]) -> str | None:
    """The valid name that is meant most probably; None if none is near."""
    valid = sorted(valid)
    if (ours := _ELSEWHERE.get(_plain(given))) is not None:
        found = [name for word in ours.split() for name in valid if _plain(name) == word]
        if found or not ours:
            return next(iter(found), None)
    longer = [name for name in valid if len(_plain(given)) > 1 and name.startswith(given)]
    if len(longer) == 1:
        return longer[0]
    return next(iter(difflib.get_close_matches(given, valid, n=1)), None)


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
