"""Fuzzing of everything that reads what others wrote: documents, checkpoints, tokenizers, attributes, rules, manifests.

A target is a module in `tests/fuzz/targets` with a function `check(choices, folder)`. It makes an input of the choices,
gives it to the code, and returns when the answer was right: an `Answer` of our own errors, or a value that agrees with
a readable second way to get it. Anything else that is raised is a finding.

    python -m tests.fuzz documents --seconds 600      search with atheris where it is installed, else with Hypothesis
    python -m tests.fuzz documents --replay           the committed corpus, with the lines of the code that it reaches

`tests/fuzz/test_fuzz.py` is the short form: the committed corpus and some hundred inputs by Hypothesis.
"""
