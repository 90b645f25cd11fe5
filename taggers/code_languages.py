"""Programming languages: names, extensions, file names, interpreters, and how each is commented.

Names and types are those of GitHub's linguist (https://github.com/github-linguist/linguist), which The Stack and
StarCoder2 go by; they are in `code_languages.tsv`. Where several languages share an extension, the text's first 16 kB
tell them apart, by the expressions of `code_shared_extensions.tsv` in their order; the one without is what the others
are not. Which language a text without a name is in is guessed in `dolma/taggers/code_guesses.py`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Type = Literal["programming", "markup", "data", "prose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language. `extensions` without the dot, lower case unless case matters; `names`: whole file names;
    `interpreters`: as in a shebang or an editor's modeline; `syntax`: a key of `dolma.taggers.code_syntax.SYNTAXES`."""

    name: str
    type: Type
    extensions: tuple[str, ...]
    names: tuple[str, ...]
    interpreters: tuple[str, ...]
    syntax: str


_TABLES = files("dolma.taggers")
_HEAD = 16_384
_SHEBANG = re.compile(rb"#![ \t]*(?:\S*/)?(?P<program>[A-Za-z0-9_.+-]+)(?P<rest>[^\n]*)")
_MODELINE = re.compile(
    rb"-\*-[^\n]*?\bmode:[ \t]*(?P<mode>[\w+#-]+)[^\n]*?-\*-|-\*-[ \t]*(?P<only>[\w+#-]+)[ \t]*-\*-"
    rb"|\b(?:vim?|ex):[^\n]{0,200}?\b(?:ft|filetype|syntax)=(?P<vim>[\w+#-]+)",
    re.IGNORECASE,
)
_MODELINE_MARKS = (b"-*-", b"vim:", b"vi:", b"ex:")


def _rows(table: str) -> Iterator[list[str]]:
    lines = (_TABLES / table).read_text(encoding="utf-8").splitlines()
    return (line.split("\t") for line in lines[1:])


@functools.cache
def languages() -> dict[str, Language]:
    """All languages by name.

    >>> languages()["Rust"].type, languages()["YAML"].type
    ('programming', 'data')
    """
    return {
        name: Language(
            name=name,
            type=type,  # type: ignore[arg-type]
            extensions=tuple(extensions.split()),
            names=tuple(names.split()),
            interpreters=tuple(interpreters.split()),
            syntax=syntax,
        )
        for name, type, extensions, names, interpreters, syntax in _rows("code_languages.tsv")
    }


@functools.cache
def _by_extension() -> dict[str, str]:
    found = {extension: language.name for language in languages().values() for extension in language.extensions}
    return found | {extension: name for extension, name, sign in _rows("code_shared_extensions.tsv") if not sign}


@functools.cache
def _by_name() -> dict[str, str]:
    return {name: language.name for language in languages().values() for name in language.names}


@functools.cache
def _by_interpreter() -> dict[str, str]:
    return {program.lower(): language.name for language in languages().values() for program in language.interpreters}


@functools.cache
def _signs(extension: str) -> tuple[tuple[str, Callable[[bytes, int, int], object]], ...]:
    """The languages that share an extension, and a test of a text for each, in the order in which they are tried."""
    signs = [(name, sign) for shared, name, sign in _rows("code_shared_extensions.tsv") if shared == extension and sign]
    compiled = [(name, sign, re.compile(sign.encode(), re.MULTILINE)) for name, sign in signs]
    return tuple((name, found.match if sign.startswith("\\A") else found.search) for name, sign, found in compiled)


def by_name(path: str, head: Callable[[], bytes]) -> tuple[str, str] | None:
    """The language by a file's name or bare extension, and what tells it: "name" or "extension"; None if nothing does.

    `head` gives the beginning of the text, for extensions that several languages share.

    >>> by_name("src/Makefile", bytes), by_name("a/b.h", lambda: b"namespace x {"), by_name("py", bytes)
    (('Makefile', 'name'), ('C++', 'extension'), ('Python', 'extension'))
    """
    found = _of_file(path)
    if found is None:
        return None
    language, by, extension = found
    signs = _signs(extension)
    if signs:
        text = b"\n" + head()  # expressions that begin with "\n" are found faster than with "^"
        language = next((name for name, sign in signs if sign(text, 0, _HEAD)), language)
    return language, by


@functools.lru_cache(maxsize=1 << 16)
def _of_file(path: str) -> tuple[str, str, str] | None:
    """The language, what tells it, and the extension, "" of a whole name; None if nothing is known."""
    file = re.split(r"[/\\]", path)[-1]
    if file in _by_name():
        return _by_name()[file], "name", ""
    # The longest extension first, as written and in lower case; a name without a dot may be one itself.
    parts = file.split(".")
    tails = [".".join(parts[i:]) for i in range(1, len(parts))][-2:] or [file]
    forms = (form for tail in tails for form in (tail, tail.lower()))
    extension = next((form for form in forms if form in _by_extension()), None)
    return None if extension is None else (_by_extension()[extension], "extension", extension)


def by_first_lines(head: bytes) -> tuple[str, str] | None:
    """The language by the shebang, or by a modeline of Vim or Emacs, and which of them tells it; None if neither does.

    >>> by_first_lines(b"#!/usr/bin/env python3\\n"), by_first_lines(b"/* -*- mode: c++ -*- */")
    (('Python', 'shebang'), ('C++', 'modeline'))
    """
    shebang = _SHEBANG.match(head) if head.startswith(b"#!") else None
    if shebang:
        words = [shebang["program"], *shebang["rest"].split()]
        if words[0] == b"env":
            words = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
        program = words[0].decode("ascii", "ignore").lower() if words else ""
        for form in (program, re.sub(r"[\d.]+$", "", program)):
            if form in _by_interpreter():
                return _by_interpreter()[form], "shebang"
    first = head[:1024]
    if any(mark in first for mark in _MODELINE_MARKS):
        match = _MODELINE.search(first)
        mode = (match["mode"] or match["only"] or match["vim"]).decode("ascii", "ignore").lower() if match else ""
        if mode in _by_interpreter():
            return _by_interpreter()[mode], "modeline"
    return None
