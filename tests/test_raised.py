"""What messages quote of other packages' exceptions. Run: pytest tests/test_raised.py"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.messages import FOLDERS, ROOT

# Their texts are ours: they may have lines of their own, and quote what they name.
OURS = {"ValueError", "OverflowError", "DataError", "ConfigError", "ExpressionError"}
OURS |= {"_BadPickleError", "_NoMetadataError"}


def foreign(kinds: ast.expr | None) -> bool:
    """Whether a handler takes exceptions that are not ours."""
    names = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]
    return any(not isinstance(name, ast.Name) or name.id not in OURS for name in names)


def raw_quotes(tree: ast.AST) -> Iterator[int]:
    """The lines on which an exception that is not ours is put into the message of another one as it is."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or not foreign(handler.type):
            continue
        raised = (node.exc for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc is not None)
        for node in (node for exception in raised for node in ast.walk(exception)):
            is_raw = isinstance(node, ast.FormattedValue) and node.conversion == -1
            if is_raw and isinstance(node.value, ast.Name) and node.value.id == handler.name:
                yield node.lineno


@pytest.mark.parametrize("folder", FOLDERS)
def test_texts_of_other_packages_are_made_printable_where_they_are_quoted(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in raw_quotes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_a_raw_quote_is_seen() -> None:
    code = "try:\n    f()\nexcept OSError as error:\n    raise DataError(f'no: {error}') from error\n"
    assert list(raw_quotes(ast.parse(code))) == [4]
    assert list(raw_quotes(ast.parse(code.replace("{error}", "{printable(error)}")))) == []
    assert list(raw_quotes(ast.parse(code.replace("OSError", "DataError")))) == []
