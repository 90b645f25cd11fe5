"""Keys of recipes say what they are once. Run: pytest tests/test_keys.py"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from dolma.cli.main import COMMANDS, command_of
from dolma.cli.options import SectionedOption
from dolma.config import Recipe
from dolma.keys import find, keys_of

from .recipe_page import PAGE, _structs, page


def options() -> Iterator[tuple[str, SectionedOption]]:
    for name in COMMANDS:
        for option in command_of(name).params:
            if isinstance(option, SectionedOption) and option.key is not None:
                yield name, option


OPTIONS = {f"{name} {option.opts[-1]}": option for name, option in options()}


def test_there_are_options_of_keys() -> None:
    assert len(OPTIONS) > 100


@pytest.mark.parametrize("shown", OPTIONS)
def test_the_help_of_an_option_says_what_its_key_says(shown: str) -> None:
    option = OPTIONS[shown]
    assert option.key is not None
    key = find(Recipe, option.key)
    assert option.help is not None
    if option.key != "output":  # which each command says in words of its own
        assert option.help.startswith(key.description)
    assert option.help.count("[default:") == bool(key.shown_default)
    assert key.shown_default in option.help
    assert option.help.endswith((".", "]"))
    if isinstance(option.type, click.Choice):
        assert tuple(option.type.choices) == key.choices


def test_every_key_has_a_sentence_of_its_own() -> None:
    todo = [Recipe]
    for struct in todo:
        for key in keys_of(struct):
            assert key.description.endswith("."), f"{struct.__name__}.{key.name}"
            todo += [inner for inner in _structs(key) if inner not in todo]


def test_the_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.recipe_page`"
