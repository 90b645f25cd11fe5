"""YAML as it is read here: plain values only, of bounded size and depth, each with the line it stands on.

A value that YAML reads as something else than it looks like is an error: a date, `1:30` (90), `0123` (83), a key such
as `no` (false). Aliases and merge keys are followed, and count each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dolma.errors import ConfigError
from dolma.printable import printable

MOST_BYTES = 1 << 20
MOST_VALUES = 200_000
MOST_DEPTH = 64
MOST_PATHS = 50 << 20  # characters of the paths of all values
_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.2 reads a number, the library a text: 4e-4
_TRUE, _FALSE = {"yes", "true", "on"}, {"no", "false", "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a value stands: its 1-based line and, of a value on one line without quotes, what is written there."""

    line: int
    text: str | None


def read_file(path: str) -> tuple[Any, dict[str, Position]]:
    """The value in a YAML file, and the place of each value in it by its path, such as `$.mix.keep[0]`.

    Raises:
        ConfigError: no such file, longer than `MOST_BYTES`, no UTF-8, or as `parse`.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ConfigError(
                f"cannot read the recipe: it has more than {MOST_BYTES:,} bytes"
                "\n  give a recipe: a YAML file of some kilobytes",
                file=path,
            )
        text = raw.decode()
    except OSError as error:
        raise ConfigError(
            f"cannot read the recipe: {error.strerror}\n  look at its path, links and permissions", file=path
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read the recipe: it is not UTF-8 (byte {error.start})\n  save it as UTF-8", file=path
        ) from error
    return parse(text, file=path)


def parse(text: str, *, file: str) -> tuple[Any, dict[str, Position]]:
    """The value that a YAML text stands for, and the place of each value in it by its path.

    >>> parse("keep: [a > 1]", file="a.yaml")[0]
    {'keep': ['a > 1']}

    Raises:
        ConfigError: it is no YAML, or has what is not read here; names `file` and the line.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > MOST_DEPTH:
                raise _problem(self.peek_event(), f"nested more than {MOST_DEPTH} deep", file)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        problem, line, hint = _explained(error, text)
        raise ConfigError(f"not valid YAML: {problem}\n  {hint}", file=f"{file}:{line}") from error
    if node is None:
        return None, {}
    values = _Values(file)
    return values.of(node, "$", 0), values.places


def _explained(error: Any, text: str) -> tuple[str, int, str]:
    """What is wrong in a text that is no YAML, the 1-based line, and what to do."""
    if (at := getattr(error, "position", None)) is not None:
        return f"the character {text[at]!r}", text.count("\n", 0, at) + 1, "leave it out"
    hint = "close brackets and quotes, and quote a text that has `: ` in it or begins with a sign"
    if "<block end>" in error.problem:
        hint = "indent the keys of one section by the same number of spaces, and close brackets and quotes"
    if "\\t" in error.problem:
        hint = "indent by spaces, not by tabs"
    if "another document" in error.problem:
        hint = "a recipe is one document: leave the line `---` out, or write a file for each"
    return printable(error.problem), error.problem_mark.line + 1, hint


def _problem(node: Any, message: str, file: str) -> ConfigError:
    return ConfigError(f"not valid YAML: {message}", file=f"{file}:{node.start_mark.line + 1}")


class _Values:
    """Makes values of composed nodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[str, Position] = {}
        self._n_values = self._n_characters = 0

    def of(self, node: Any, path: str, depth: int) -> Any:
        self._n_values += 1
        if self._n_values > MOST_VALUES:
            raise _problem(node, f"more than {MOST_VALUES:,} values, aliases followed", self.file)
        self._n_characters += len(path)
        if self._n_characters > MOST_PATHS:
            raise _problem(node, "its keys are too long for how deep and how often they stand", self.file)
        if depth > MOST_DEPTH:
            raise _problem(node, f"nested more than {MOST_DEPTH} deep, or an alias of what it stands in", self.file)
        line = node.start_mark.line + 1
        plain = node.id == "scalar" and node.style is None and "\n" not in node.value
        self.places[path] = Position(line=line, text=node.value if plain else None)
        tag = node.tag.removeprefix(_TAG)
        if node.id == "mapping" and tag == "map":
            return self._mapping(node, path, depth)
        if node.id == "sequence" and tag == "seq":
            return [self.of(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        if node.id == "scalar" and tag in _SCALARS:
            try:
                return _SCALARS["float" if plain and _EXPONENT.fullmatch(node.value) else tag](node.value)
            except ValueError as error:
                raise _problem(node, f"{error}", self.file) from error
        raise _problem(
            node, f"{printable(node.tag.replace(_TAG, '!!'))} is not read here; leave the tag out", self.file
        )

    def _mapping(self, node: Any, path: str, depth: int) -> dict[str, Any]:
        own: dict[tuple[str, bool], Any] = {}
        for key_node, item in node.value:
            key = self._key(key_node)
            if key in own:
                raise _problem(key_node, f"the key {key[0]!r} stands twice", self.file)
            own[key] = item
        merged = own.pop(("<<", True), None)
        found: dict[str, Any] = {}
        place = self.places[path]
        for item in reversed(merged.value if merged is not None and merged.id == "sequence" else [merged]):
            if item is not None:  # of two the first one wins
                if item.id != "mapping":
                    raise _problem(item, "`<<` takes a mapping, or a list of mappings", self.file)
                found |= self.of(item, path, depth + 1)
        self.places[path] = place
        return found | {key: self.of(item, f"{path}.{key}", depth + 1) for (key, _), item in own.items()}

    def _key(self, node: Any) -> tuple[str, bool]:
        """The key, and whether it is that of a merge."""
        if node.id != "scalar":
            raise _problem(node, f"a key is a {node.id}, expected a name", self.file)
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("str", "merge", "value"):
            shown = _KINDS.get(kind, kind)
            raise _problem(
                node,
                f'the key `{node.value}` is read as {shown}, expected a name\n  quote it: "{node.value}"',
                self.file,
            )
        try:
            return _str(node.value), kind == "merge"
        except ValueError as error:
            raise _problem(node, f"{error}", self.file) from error


_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}


def _str(text: str) -> str:
    try:
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16")  # two escapes are one character, as in JSON
    except UnicodeDecodeError:
        whole = "\0"
    if "\0" in whole:
        raise ValueError("a text has the character NUL, or half of a surrogate pair\n  leave it out")
    return whole


def _bool(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(f"`{printable(text)}` is neither true nor false\n  write `true` or `false`")
    return text.lower() in _TRUE


def _int(text: str) -> int:
    digits = text.replace("_", "")
    if ":" in digits:
        raise ValueError(f"`{text}` is read as a number of base 60\n  quote it, or write the number")
    if re.fullmatch(r"[-+]?0\d+", digits):
        raise ValueError(f"`{text}` is read as a number of base 8\n  quote it, or write it without the leading 0")
    if len(digits) > 80 or not -(2**63) <= (number := int(digits, 0)) < 2**64:
        raise ValueError(f"`{text[:20]}…` has more than 64 bits\n  write a smaller number, or quote a text")
    return number


def _float(text: str) -> float:
    digits = text.replace("_", "").lower()
    if ":" in digits:
        raise ValueError(f"`{text}` is read as a number of base 60\n  quote it, or write the number")
    return float(digits.replace(".inf", "inf").replace(".nan", "nan"))


def _date(text: str) -> Any:
    raise ValueError(f'`{text}` is read as a date\n  quote it: "{text}"')


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": _str,
    "value": _str,
    "null": lambda _: None,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "timestamp": _date,
}
