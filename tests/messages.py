"""The error messages in the code, and docs/errors.md, which explains each of them.

`python -m tests.messages` writes docs/errors.md from docs/errors/*.yaml; `python -m tests.messages --missing` lists the
messages that have no entry there. A message is known by its first line, with … for what differs from case to case.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import yaml

ROOT = Path(__file__).parents[1]
ENTRIES, PAGE = ROOT / "docs" / "errors", ROOT / "docs" / "errors.md"
FOLDERS = ("dolma", "taggers", "dedupe", "mixers")
# Their callers are the code of this project, which keeps to what they expect.
INTERNAL = ("dolma/kernels/",)
# What reads files that taggers are given: to a command it is an option that is wrong.
OPTIONS = ("taggers/", "dolma/models/url_lists.py")
# Whatever is wrong with a value there is wrong with a recipe.
GIVEN = (
    *("dolma/amounts.py", "dolma/config.py", "dolma/names.py", "dolma/recipe_file.py"),
    *("dolma/training/config.py", "dedupe/config.py"),
)
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
    "WriteError": 1,
    "DolmaError": 1,
    "SkippedRecordsError": 4,
    "UnmeasuredError": 4,
    "Unfinished": 5,
}
AREAS = {
    "Recipes and options": (
        *(
            "dolma/amounts.py",
            "dolma/cli/",
            "dolma/config.py",
            "dolma/recipe_file.py",
            "dolma/names.py",
            "dolma/graph.py",
            "dolma/pipeline.py",
        ),
        *("dolma/errors.py", "dolma/printable.py", "dolma/stages.py"),
    ),
    "Documents, attributes and storage": ("dolma/data/",),
    "Models, tokenizers and lists": ("dolma/models/",),
    "Running, resuming, verifying": (
        "dolma/runner/",
        "dolma/verification.py",
        "dolma/doctor.py",
        "dolma/requirements.py",
    ),
    "`dolma show`, `why`, `diff`, `card`, `report`": ("dolma/lookup/",),
    "`dolma tag` and taggers": ("taggers/",),
    "`dolma dedupe`": ("dedupe/",),
    "`dolma mix`": ("mixers/",),
    "`dolma tokenize`": ("dolma/tokens/", "dolma/reshard/"),
    "`dolma train`, `eval`, `trace`": ("dolma/training/",),
    "`dolma stat`": ("dolma/stats/",),
    "`dolma takedown`": ("dolma/removal/",),
    "`dolma classifier`": ("dolma/classifier/",),
    "`import dolma`": ("dolma/api/",),
}


# What click says to a user of options.
OF_LIBRARIES = {
    "Invalid value for …: …": "UsageError",
    "Missing option …": "UsageError",
    "Option … requires an argument.": "UsageError",
    "Got unexpected extra argument…": "UsageError",
}


# Ends of messages that say what to type: a further line, the nearest name, or a request on the first line.
_NEXT = "\ue000"  # stands for `did_you_mean(...)`
_SAYS_WHAT_NEXT = re.compile(
    rf"\n  \S|{_NEXT}|expected|valid|did you mean"
    r"|[;:,] (give|name|take|make|set|use|write|call|add|put|see|leave|a rule may)\b"
)


class Message(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A first line in the code, and the file and class of error that have it.

    `says_what_next`: the message says what was expected or what to type next.
    """

    text: str
    file: str
    error: str
    says_what_next: bool = True


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What docs/errors/*.yaml says about a message.

    `run` is a command that shows it in a folder with `files` (and the project's `data` and `configs`), which a test
    does. It may have lines before it, which prepare it. Lines are commands, `dolma ...` or `python FILE`, after
    variables of the environment if need be. Where no command can, `input` says in words what does, and `unshown` why no
    test shows it.
    """

    message: str
    cause: str
    fix: str
    run: str | None = None
    files: dict[str, str] = {}
    input: str | None = None
    unshown: str | None = None

    def __post_init__(self) -> None:
        if (self.run is None) != (self.input is not None and self.unshown is not None):
            raise ValueError(f"{self.message}: give either `run`, or `input` and why no test shows it, `unshown`")

    @property
    def commands(self) -> list[str]:
        """The lines of `run`, none where there is none."""
        return (self.run or "").strip().splitlines()


@cache
def messages() -> dict[str, list[Message]]:
    """All messages, by their first line."""
    found = {text: [Message(text=text, file="dolma/config.py", error=error)] for text, error in OF_LIBRARIES.items()}
    for path in _files():
        name = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for text, error in _raised(tree, values_are_given=name in GIVEN):
            if not name.startswith(INTERNAL):
                option = error == "DataError" and name.startswith(OPTIONS)
                first = re.sub("…+", "…", text.partition("\n")[0].replace(_NEXT, "…")).rstrip()
                found.setdefault(first, []).append(
                    Message(
                        text=first,
                        file=name,
                        error="ConfigError" if option else error,
                        says_what_next=error == "MissingExtraError" or _SAYS_WHAT_NEXT.search(text) is not None,
                    )
                )
    return found


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        links = [ROOT / "dolma" / name for name in FOLDERS] if folder == "dolma" else []
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(link in path.parents for link in links):
                yield path


def _raised(tree: ast.Module, *, values_are_given: bool) -> Iterator[tuple[str, str]]:
    """Texts and classes of the errors made in this module; a `ValueError` in `__post_init__` is a recipe's.

    `values_are_given`: all of its `ValueError`s are. A function that returns an error is what its calls make of it.
    """
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    makers = {function.name: error for function in functions if (error := _name(function.returns)) in STATUS}
    within = {id(node): function for function in functions for node in ast.walk(function)}
    texts = _Texts(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = {"fail": "UsageError"}.get(_name(node.func), _name(node.func))
        function = within.get(id(node))
        if name == "ValueError" and (values_are_given or (function is not None and function.name == "__post_init__")):
            name = "ConfigError"
        if name == "MissingExtraError":
            yield "… needs the package …, which is not installed", name
        elif name in STATUS:
            filled = [{}]
            if function is not None and function.name in makers:
                filled = list(_given(function, tree))
            for given in filled:
                found = texts.of(node.args[0], texts.constants | given)
                if function is not None and not any(map(_says, found)):
                    found = texts.of(node.args[0], _assigned(function) | given)
                yield from ((text, name) for text in found if _says(text))


def _says(text: str) -> bool:
    return bool(text.partition("\n")[0].strip(f"…{_NEXT} :;,.()`'"))


def _assigned(tree: ast.Module | ast.FunctionDef) -> dict[str, ast.expr]:
    """The texts among the names that a module or function assigns."""
    return {
        _name(node.targets[0]): node.value
        for node in (tree.body if isinstance(tree, ast.Module) else ast.walk(tree))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr)
    }


def _given(function: ast.FunctionDef, tree: ast.Module) -> Iterator[dict[str, ast.expr]]:
    """For each call of a function, what its parameters are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == function.name:
            named = zip([parameter.arg for parameter in function.args.args], node.args, strict=False)
            yield dict(named) | {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}


def _name(function: ast.expr | None) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class _Texts:
    """The texts that an expression may have, with the constants and text functions of its module followed."""

    def __init__(self, tree: ast.Module) -> None:
        self.constants = _assigned(tree)
        self.tables = {
            _name(node.targets[0]): node.value.values
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        }
        self.functions = {
            node.name: [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and _name(node.returns) == "str"
        }

    def of(self, node: ast.expr, given: dict[str, ast.expr]) -> list[str]:
        if isinstance(node, ast.IfExp):
            return [*self.of(node.body, given), *self.of(node.orelse, given)]
        if isinstance(node, ast.Call) and node.args:
            if _name(node.func) in self.functions:
                return [text for value in self.functions[_name(node.func)] for text in self.of(value, given)]
            if isinstance(node.func, ast.Attribute) and _name(node.func.value) in self.tables:
                values = self.tables[_name(node.func.value)]
                return [text for value in [*values, *node.args[1:]] for text in self.of(value, given)]
        return [_text(node, given)]


def _text(node: ast.expr, given: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, given) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        text = _text(node.value, given)
        return repr(text) if node.conversion == ord("r") and text != "…" else text
    if isinstance(node, ast.Call) and _name(node.func) == "did_you_mean":
        return _NEXT
    if isinstance(node, ast.Name) and node.id in given:
        return _text(given[node.id], {})
    return _text(node.left, given) + _text(node.right, given) if isinstance(node, ast.BinOp) else "…"


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
        "3 wrong data, 4 finished, but with more records left out than `--max-errors` allows, 5 this shard is done,",
        "others are not.",
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
    commands = [f"$ {line}" for line in entry.commands]
    out += ["```console", *commands, "```\n"] if commands else [f"Shown by: {str(entry.input).strip()}\n"]
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
