"""Every stage's functions are there, and ask for what they are given."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from dolma.stages import PACKAGES, RUNNING, VALUES, Checks, Stage, find_stage, function_of

GIVEN = {
    "run": RUNNING,
    "plan": RUNNING,
    "preview": RUNNING,
    "what_if": (*RUNNING, "sweeps", "target_tokens", "labels"),
    "check": ("declared",),
    "check_corpus": ("ledger",),
    "unlike": ("manifest",),
    "ending": ("report",),
    "accept": ("report", "max_errors"),
}
WHAT_IT_IS = {"name", "folder", "writes", "beginning"}


def references(stage: Stage) -> dict[str, str]:
    fields = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
    return {name: value for name, value in fields.items() if isinstance(value, str) and name not in WHAT_IT_IS}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_functions_of_a_stage_ask_for_what_they_are_given(name: str) -> None:
    asked = {role: inspect.signature(function_of(said)) for role, said in references(find_stage(name)).items() if said}
    assert {"run", "plan"} <= asked.keys()
    for role, signature in asked.items():
        given = {"ledger", "details"} if role == "show" else {"config", *VALUES, *GIVEN.get(role, ())}
        assert set(signature.parameters) <= given, role


@pytest.mark.parametrize("name", PACKAGES)
def test_the_checks_of_a_stage_take_what_verify_has(name: str) -> None:
    for checks in find_stage(name).checks.values():
        for field, given in (
            ("rows", {"out", "path"}),
            ("problems", {"folder", "manifest"}),
            ("contradictions", {"folder", "manifest", "ledger"}),
        ):
            if said := getattr(checks, field):
                assert set(inspect.signature(function_of(said)).parameters) <= given


def test_checks_that_a_stage_does_not_have_find_nothing() -> None:
    assert (Checks().problems_of("x", None), list(Checks().contradictions_of("x", None, None))) == ([], [])  # type: ignore[arg-type]
