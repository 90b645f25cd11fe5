"""The patterns by which a new tokenizer cuts text into pre-tokens, by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dolma.kernels.pretokens import CL100K, GPT2, O200K, UNLIMITED, classes_of, pattern_of, pretoken_ends

_UNICODE = 16  # that of tokenizers 0.22 and 0.23, whose trainer makes the same merges
_FORMS = {"gpt2": (GPT2, UNLIMITED), "cl100k": (CL100K, 3), "qwen2": (CL100K, 1), "o200k": (O200K, 3)}
PATTERNS = {name: pattern_of(form, digits=digits) for name, (form, digits) in _FORMS.items()}
"""As `tokenizer.json` has them: GPT-2 and GPT-NeoX; GPT-4, Llama 3, OLMo 2 and 3; Qwen 2; GPT-4o."""


def pretokens(utf8: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], pattern: str) -> npt.NDArray[np.int64]:
    """Where each pre-token of each document ends, in bytes of the batch; int64, shape `(n,)`."""
    form, digits = _FORMS[pattern]
    return pretoken_ends(utf8, offsets, form=form, digits=digits, classes=classes_of(_UNICODE))
