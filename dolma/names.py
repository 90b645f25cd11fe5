"""Names that become paths: one check for all of them.

A name from a recipe, a manifest or a listing becomes a part of a path below a folder of ours. So it is one component:
no separator of any system, nothing that leads elsewhere, nothing that a listing hides, and short enough that suffixes
and the marks of unfinished files fit after it.
"""

from __future__ import annotations

from collections.abc import Callable

RESERVED = frozenset({"manifest.json", "_manifest.json", "recipe.yaml", "_recipe.yaml"})
"""Files that every finished folder has."""

MOST_BYTES = 200
"""Of UTF-8 in one name: file systems have 255, and suffixes follow."""

EXPECTED = f"a name without / and \\, control characters or a leading dot, of at most {MOST_BYTES} bytes"
EXPECTED_FILE = f"a file name without \\ and a leading dot, of at most {MOST_BYTES} bytes"


def check_name(name: str, *, reserved: frozenset[str] = RESERVED) -> None:
    """Return when the name is fit to be one part of a path.

    >>> check_name("dedupe_by-url.2")
    >>> check_name("..")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: '..' starts with a dot; expected a name ...

    Raises:
        ValueError: says what is wrong and what is allowed.
    """
    if (problem := _problem(name, reserved) or _odd(name)) is not None:
        raise ValueError(f"{name[:80]!r} {problem}; expected {EXPECTED}")


def check_as(key: str, name: str, check: Callable[[str], None]) -> None:
    """Return when the value of the key passes the check.

    Raises:
        ValueError: it does not; the message begins with the key.
    """
    try:
        check(name)
    except ValueError as error:
        raise ValueError(f"`{key}` {error}") from None


SET_NAMES_TAKEN = frozenset({"document", "documents", "attributes", "id", "source", "text", "file", "line"})


def check_set_name(name: str) -> None:
    """Return when an attribute set may be called so: it is a folder, and rules say it.

    Raises:
        ValueError: it may not.
    """
    check_as("name", name, check_name)
    if name.lower() in SET_NAMES_TAKEN:
        raise ValueError(f"`name` is {name!r}, which means something else; give another one")
    if "." in name:
        raise ValueError(f"`name` is {name!r}; rules say `set.output`, so it has no dot: give another one")


def check_path(path: str) -> None:
    """Return when every part of the path of a file that is there can be one of an output too; `/` stands between them.

    Control characters and outer white space are let through: the file system took them once, and takes them again.

    >>> check_path("books/a.jsonl.gz")

    Raises:
        ValueError: says which part is not, and why.
    """
    first = True
    for part in path.split("/"):
        if (problem := _problem(part, RESERVED if first else frozenset())) is not None:
            raise ValueError(f"{part[:80]!r} {problem}; expected {EXPECTED_FILE}")
        first = False


def check_field(name: str) -> None:
    """Return when the name may be that of a field of records; dots stand between keys.

    >>> check_field("metadata.url")

    Raises:
        ValueError: a key has a character that no decoder of single fields can be made for.
    """
    if any(character in '"\\' or ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(f"{name[:80]!r} has a quote, a backslash or a control character; expected one as metadata.url")


def check_key(name: str) -> None:
    """Return when the name may begin a key of the Dolma 1.x attribute files.

    >>> check_key("dolma17-quality")

    Raises:
        ValueError: it begins with a digit, which 1.x refuses.
    """
    if name[:1].isdigit():
        raise ValueError(
            f"{name[:80]!r} begins with a digit, which the Dolma 1.x form does not allow\n  begin it with a letter"
        )


def leads_below(path: str) -> bool:
    """Whether a path that a file of ours names stays below the folder of that file.

    >>> leads_below("documents/.odd/a.jsonl"), leads_below("a/../../b"), leads_below("/b")
    (True, False, False)
    """
    return not path.startswith(("/", "\\")) and ".." not in path.replace("\\", "/").split("/") and "\0" not in path


def _problem(name: str, reserved: frozenset[str]) -> str | None:
    if not name:
        return "is empty"
    if "/" in name or "\\" in name:
        return "has a separator of paths"
    if "\0" in name:
        return "has a control character"
    if name.startswith("."):
        return "starts with a dot"
    if name.lower() in reserved:
        return "is the name of a file or folder of ours"
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"has {n_bytes} bytes" if n_bytes > MOST_BYTES else None


def _odd(name: str) -> str | None:
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        return "has a control character"
    return "has white space at an end" if name.strip() != name else None


KEEP_WORDS = ("first", "last", "longest", "shortest", "none")
KEEP_BY_FIELD = ("max:", "min:")


def check_keep(keep: str) -> None:
    """Return when this says which of some copies is kept.

    Raises:
        ValueError: it does not.
    """
    if keep not in KEEP_WORDS and not (keep.startswith(KEEP_BY_FIELD) and all(keep[4:].split("."))):
        words = ", ".join(KEEP_WORDS)
        raise ValueError(f"is {keep!r}, expected {words}, max:FIELD or min:FIELD, such as max:metadata.score")
