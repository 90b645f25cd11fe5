"""The error messages in the code, and docs/errors.md, which explains each of them.

`python -m tests.messages` writes docs/errors.md from docs/errors/*.yaml; `python -m tests.messages --missing` lists the
messages that have no entry there. A message is known by its first line, with … for what differs from case to case.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

ROOT = Path(__file__).parents[1]
ENTRIES, PAGE = ROOT / "docs" / "errors", ROOT / "docs" / "errors.md"
FOLDERS = ("dolma", "taggers", "dedupe", "mixers")
# Their callers are the code of this project, which keeps to what they expect.
INTERNAL = ("dolma/kernels/",)
STATUS = {
    "ConfigError": 2,
    "MissingExtraError": 2,
    "OutputExistsError": 2,
    "ExpressionError": 2,
    "UsageError": 2,
    "BadParameter": 2,
    "DataError": 3,
    "RecordError": 3,
    "AlignmentError": 3,
    "LedgerError": 1,
    "WorkerError": 1,
    "DolmaError": 1,
    "SkippedRecordsError": 4,
    "UnmeasuredError": 4,
    "Unfinished": 1,
}
AREAS = {
    "Recipes and options": (
        *("dolma/cli/", "dolma/config.py", "dolma/recipe_file.py", "dolma/names.py", "dolma/pipeline.py"),
        *("dolma/errors.py", "dolma/printable.py"),
    ),
    "Documents, attributes and storage": ("dolma/data/",),
    "Running, resuming, verifying": ("dolma/run/", "dolma/verify.py", "dolma/contradictions.py", "dolma/doctor.py"),
    "`dolma tag` and taggers": ("taggers/",),
    "`dolma dedupe`": ("dedupe/",),
    "`dolma mix`": ("mixers/",),
    "`dolma tokenize`": ("dolma/tokens/",),
    "`dolma train`, `eval`, `trace`": ("dolma/train/",),
    "`dolma stat`": ("dolma/stats/",),
    "`dolma classifier`": ("dolma/classifier/",),
}


class Message(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A first line in the code, and the file and class of error that have it."""

    text: str
    file: str
    error: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What docs/errors/*.yaml says about a message.

    `run` is a command that shows it in a folder with `files` (and the project's `data` and `configs`), which a test
    does; where no command can, `input` says in words what does.
    """

    message: str
    cause: str
    fix: str
    run: str | None = None
    files: dict[str, str] = {}
    input: str | None = None

    def __post_init__(self) -> None:
        if (self.run is None) == (self.input is None):
            raise ValueError(f"{self.message}: give either `run` or `input`")


def messages() -> dict[str, list[Message]]:
    """All messages, by their first line."""
    found: dict[str, list[Message]] = {}
    for path in _files():
        name = str(path.relative_to(ROOT))
        for text, error in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            if text.strip("… :;,.()`'") and not name.startswith(INTERNAL):
                found.setdefault(text, []).append(Message(text=text, file=name, error=error))
    return found


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        links = [ROOT / "dolma" / name for name in FOLDERS] if folder == "dolma" else []
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(link in path.parents for link in links):
                yield path


def _raised(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """First lines and classes of the errors made in this module; a `ValueError` in `__post_init__` is a recipe's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__post_init__":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and _name(inner.func) == "ValueError" and inner.args:
                    yield from ((text, "ConfigError") for text in _first_lines(inner.args[0]))
        if isinstance(node, ast.Call) and _name(node.func) in STATUS and node.args:
            if _name(node.func) == "MissingExtraError":
                yield "… needs the package …, which is not installed", "MissingExtraError"
            else:
                yield from ((text, _name(node.func)) for text in _first_lines(node.args[0]))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _first_lines(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return [*_first_lines(node.body), *_first_lines(node.orelse)]
    return [re.sub("…+", "…", _text(node).partition("\n")[0]).rstrip()]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return _text(node.left) + _text(node.right) if isinstance(node, ast.BinOp) else "…"


def entries() -> dict[str, Entry]:
    """The entries of docs/errors/*.yaml by message."""
    contents = [yaml.safe_load(path.read_text(encoding="utf-8")) or [] for path in sorted(ENTRIES.glob("*.yaml"))]
    found = [entry for content in contents for entry in msgspec.convert(content, list[Entry])]
    by_message = {entry.message: entry for entry in found}
    if len(by_message) < len(found):
        raise ValueError("a message stands twice in docs/errors/*.yaml")
    return by_message


def pattern(message: str) -> re.Pattern[str]:
    """What matches the message in the output of a command."""
    return re.compile(".*".join(map(re.escape, message.split("…"))))


def page() -> str:
    """docs/errors.md."""
    there, known = messages(), entries()
    out = [
        "# Error messages\n",
        "Every message of dolma: what causes it, an input that shows it, and what to do. Search this page for words",
        "of the message; … stands for what differs from case to case.\n",
        "The exit status tells the kind of error: 1 a failure of dolma or of a worker, 2 a wrong recipe or option,",
        "3 wrong data, 4 finished, but with more records left out than `--max-errors` allows.",
    ]
    for area, files in AREAS.items():
        here = sorted(text for text, found in there.items() if found[0].file.startswith(files) and text in known)
        out.append(f"\n## {area}\n" if here else "")
        for text in here:
            out += _section(known[text], STATUS[there[text][0].error])
    return "\n".join(line for line in out).rstrip("\n") + "\n"


def _section(entry: Entry, status: int) -> list[str]:
    quoted = entry.message.replace("`", "'")
    out = [f"**`{quoted}`** (status {status})\n", f"{entry.cause.strip()}\n"]
    for name, content in entry.files.items():
        out += [f"`{name}`:\n", "```", content.rstrip("\n"), "```\n"]
    out += ["```console", f"$ {entry.run}", "```\n"] if entry.run else [f"Shown by: {str(entry.input).strip()}\n"]
    return [*out, f"What to do: {entry.fix.strip()}\n"]


def main() -> None:
    """The command."""
    if "--missing" in sys.argv:
        known = entries()
        for text, found in sorted(messages().items(), key=lambda item: item[1][0].file):
            if text not in known:
                print(f"{found[0].file}: {found[0].error}: {text}")
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
