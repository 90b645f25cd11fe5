"""Writes `transformers.json`: what the OLMo classes of transformers give for the models of `variants.py`.

Each model is exported by `dolma.training.interop.hf` and loaded by transformers, so this checks the export as well.
Needs `pip install 'transformers>=5,<6'`, which no test does. Run: python -m tests.training.model.reference
The file at hand is from transformers 5.23.0 and torch 2.13.0.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from dolma.training.interop.hf import write_folder
from tests.training.model.variants import VARIANTS, VOCABULARY, given_documents, given_ids, given_model

GOLDEN = Path(__file__).parent / "transformers.json"


def values(variant: str) -> dict[str, Any]:
    """Logits of some places, loss, norm of the gradient; logits when documents are kept apart."""
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        weights = dict(given_model(variant).named_parameters())
        write_folder(folder, weights, VARIANTS[variant], vocab_size=VOCABULARY, eos_id=None)
        options = {"experts_implementation": "eager"} if VARIANTS[variant].experts else {}
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **options)
    ids = given_ids()
    logits = model(ids).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    documents = given_documents()
    positions = torch.cat([torch.arange(int(n)) for row in documents for n in torch.bincount(row)]).view_as(documents)
    with torch.no_grad():
        masked = model(ids, position_ids=positions, use_cache=False).logits
    return {
        "logits": logits[:, -1, :16].tolist(),
        "loss": loss.item(),
        "gradient_norm": norm.item(),
        "logits_of_documents": masked[:, -1, :16].tolist(),
    }


def main() -> None:
    """Write the file, and say how far our own model is from it."""
    found = {variant: values(variant) for variant in VARIANTS}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    for variant, golden in found.items():
        with torch.no_grad():
            ours = given_model(variant)(given_ids())[:, -1, :16]
        print(variant, float((ours - torch.tensor(golden["logits"])).abs().max()))


if __name__ == "__main__":
    main()
