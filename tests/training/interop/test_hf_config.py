"""`config.json`, both ways: honoured or refused. Run: pytest tests/training/interop/test_hf_config.py"""

from __future__ import annotations

import json
import tempfile
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dolma.training.config import ModelConfig, YarnConfig
from dolma.training.interop import hf
from dolma.training.interop.hf_config import family_of, hf_config, model_of
from dolma.training.model.rope import attention_factor
from dolma.training.model.transformer import unfilled
from dolma.training.presets import PRESETS, long_context, padded_vocabulary
from tests.training.interop.folders import read
from tests.training.interop.strategies import filled, models
from tests.training.model.variants import VARIANTS

OLMO3 = PRESETS["olmo3_7b"]


def fields_of(model: ModelConfig, **changes: Any) -> dict[str, Any]:
    """The `config.json` of a model with some keys changed; those that are `...` taken out."""
    fields = json.loads(json.dumps(hf_config(model, vocab_size=100_352, eos_id=1))) | changes
    return {name: value for name, value in fields.items() if value is not ...}


def exports(model: ModelConfig) -> bool:
    try:
        family_of(model)
    except ValueError:
        return False
    return True


def usual(scaling: YarnConfig | None) -> YarnConfig | None:
    """The same scaling with its factor spelt out."""
    return scaling and msgspec.structs.replace(scaling, attention_factor=attention_factor(scaling))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(model=models(), vocab_size=st.sampled_from([70, 128]), trimmed=st.booleans())
def test_what_is_exported_comes_back_and_computes_the_same(model: ModelConfig, vocab_size: int, trimmed: bool) -> None:
    assume(exports(model))
    ours = filled(model, vocab_size=vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        hf.write_folder(
            folder,
            dict(ours.named_parameters()),
            model,
            vocab_size=vocab_size,
            eos_id=None,
            trim_vocabulary=trimmed,
        )
        found, rows, weights = read(folder)
    assert rows == (vocab_size if trimmed else padded_vocabulary(vocab_size, multiple=model.vocabulary_multiple))
    multiple = 1 if rows % 128 else 128
    assert found == msgspec.structs.replace(model, vocabulary_multiple=multiple, rope_scaling=found.rope_scaling)
    assert usual(found.rope_scaling) == usual(model.rope_scaling)
    again = unfilled(found, vocab_size=rows)
    again.load_state_dict(weights)
    ids = torch.arange(24).reshape(2, 12) * 7 % vocab_size
    with torch.no_grad():
        before, after = ours(ids)[..., :rows], again(ids)
    assert after.shape[-1] == rows
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("olmo1", {"sliding_window": 5}, "OlmoForCausalLM, the nearest, does not do what `sliding_window` 5 does"),
        ("olmo1", {"norm_eps": 1e-6}, "does not do what `norm_eps` 1e-06 does here"),
        (
            "olmoe",
            {"sliding_window": 5},
            "OlmoeForCausalLM, the nearest, does not do what `sliding_window` 5 does here",
        ),
        ("olmoe", {"clip_qkv": 8.0}, "does not do what `clip_qkv` 8.0 does here"),
        ("olmo2", {"clip_qkv": 8.0}, "does not do what `clip_qkv` 8.0 does here"),
        ("olmo2", {"norm_position": "pre"}, "no model class of transformers has `norm` rms, `norm_position` pre"),
        ("olmo1", {"qk_norm": True}, "no model class of transformers has `norm` layer"),
    ],
)
def test_a_model_that_no_class_computes_is_refused(variant: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family_of(msgspec.structs.replace(VARIANTS[variant], **changes))


@pytest.mark.parametrize("variant", ["olmo1", "olmo2", "olmo3", "olmoe"])
def test_yarn_is_exported_with_every_family(variant: str) -> None:
    model = msgspec.structs.replace(VARIANTS[variant], rope_scaling=YarnConfig(factor=4.0, original_length=16))
    assert model_of(fields_of(model)).rope_scaling == model.rope_scaling


def test_the_released_form_of_yarn_is_read() -> None:
    released = fields_of(
        long_context(OLMO3),
        rope_parameters=...,
        rope_theta=500_000,
        rope_scaling={
            "attention_factor": 1.2079441541679836,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "yarn",
        },
    )
    assert model_of(released) == long_context(OLMO3)


UNDEFINED = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 2.0,
    "original_max_position_embeddings": 8,
    "mscale": 1.0,
    "mscale_all_dim": -14.426950408889635,  # -10 / ln(2)
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}


@pytest.mark.parametrize(
    ("given", "factor"),
    [
        ({"attention_factor": 1.25}, 1.25),
        ({"mscale": 0.7, "mscale_all_dim": 1.4}, (0.07 * 1.3862943611198906 + 1) / (0.14 * 1.3862943611198906 + 1)),
        ({"mscale": 0.7}, None),
        ({"attention_factor": 0.1 * 1.3862943611198906 + 1}, None),
    ],
)
def test_what_yarn_multiplies_cosines_with_is_read(given: dict[str, float], factor: float | None) -> None:
    fields = fields_of(VARIANTS["olmo1"], rope_parameters=YARN | given)
    scaling = model_of(fields).rope_scaling
    assert scaling is not None
    assert scaling.attention_factor == (None if factor is None else pytest.approx(factor, rel=1e-15))


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("olmo2_7b", {"model_type": "llama"}, "`model_type` is 'llama', expected one of olmo, olmo2, olmo3, olmoe"),
        ("olmo2_7b", {"hidden_act": "gelu"}, "`hidden_act` is 'gelu', expected 'silu'"),
        ("olmo2_7b", {"attention_bias": True}, "`attention_bias` is True, expected False"),
        ("olmo2_7b", {"attention_dropout": 0.1}, "`attention_dropout` is 0.1, expected 0.0"),
        ("olmo2_7b", {"head_dim": 64}, "`head_dim` is 64, expected 128"),
        ("olmo2_7b", {"clip_qkv": 8.0}, "`clip_qkv` is 8.0, expected None"),
        ("olmo2_7b", {"sliding_window": 8}, "`sliding_window` is 8, expected None"),
        ("olmo2_7b", {"layer_types": ["full_attention"]}, "`layer_types` is"),
        ("olmo2_7b", {"logit_scale": 2.0}, "`logit_scale` is no key that is known here, and it may change what"),
        ("olmo2_7b", {"quantization_config": {"bits": 4}}, "`quantization_config` is"),
        ("olmo2_7b", {"per_layer_config": {"0": {}}}, "`per_layer_config` is"),
        ("olmo2_7b", {"architectures": ["Olmo2ForSequenceClassification"]}, "`architectures` is"),
        ("olmo2_7b", {"hidden_size": "wide"}, r"Expected `int`, got `str` - at `\$.hidden_size`"),
        ("olmo2_7b", {"vocab_size": 0}, "`vocab_size` is 0, expected 1 to 4,294,967,296"),
        ("olmo2_7b", {"vocab_size": 10**15}, "`vocab_size` is 1000000000000000, expected 1 to 4,294,967,296"),
        ("olmo2_7b", {"hidden_size": 2**40}, "`d_model` is 1,099,511,627,776, expected at most 1,048,576"),
        ("olmo2_7b", {"intermediate_size": 10**20}, "`mlp_hidden` is 100,000,000,000,000,000,000, expected at most"),
        ("olmoe_1b_7b", {"num_experts": 2**60}, "`count` is 1,152,921,504,606,846,976, expected at most 65,536"),
        ("olmo2_7b", {"model_type": ["olmo2"]}, r"`model_type` is \['olmo2'\], expected one of olmo,"),
        (
            "olmo3_7b",
            {"layer_types": ..., "num_hidden_layers": 10**9},
            "`num_hidden_layers` is 1,000,000,000, expected",
        ),
        ("olmo2_7b", {"rope_parameters": UNDEFINED}, "`mscale_all_dim` is -14.42[0-9]+: .* divides by 0"),
        ("olmo2_7b", {"rms_norm_eps": ...}, "`rms_norm_eps` is missing"),
        ("olmo2_7b", {"rope_theta": 1e6}, "`rope_parameters`, `rope_scaling` and `rope_theta` disagree"),
        ("olmo2_7b", {"rope_scaling": YARN}, "`rope_parameters`, `rope_scaling` and `rope_theta` disagree"),
        ("olmo2_7b", {"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "`rope_type` is 'linear'"),
        ("olmo2_7b", {"rope_parameters": {"rope_type": "default", "base": 2.0}}, "unknown field `base`"),
        ("olmo2_7b", {"rope_parameters": YARN | {"truncate": False}}, "`truncate` is False, expected True"),
        ("olmo2_7b", {"rope_parameters": YARN | {"factor": None}}, "`factor` is missing"),
        ("olmo2_7b", {"rope_parameters": YARN | {"partial_rotary_factor": 0.5}}, "`partial_rotary_factor` is 0.5"),
        ("olmoe_1b_7b", {"clip_qkv": 8.0}, "`clip_qkv` is 8.0: OLMoE's class clips after its norms"),
        ("olmoe_1b_7b", {"norm_topk_prob": True}, "`norm_topk_prob` is True, expected False"),
        ("olmoe_1b_7b", {"num_experts_per_tok": ...}, "`num_experts_per_tok` is missing"),
        ("olmo3_7b", {"layer_types": ["sliding_attention"] * 32}, "expected three layers with a window"),
        ("olmo3_7b", {"layer_types": ..., "num_hidden_layers": 31}, "expected three layers with a window"),
        ("olmo3_7b", {"sliding_window": None}, "`sliding_window` is missing"),
        ("olmo3_7b", {"rope_theta": ..., "rope_parameters": ...}, "`rope_theta` is missing"),
        ("olmo3_7b", {"rope_theta": 1e6, "rope_parameters": ...}, "for sliding_attention nothing"),
        ("olmo3_7b", {"rope_parameters": {"rope_type": "default"}}, "expected an entry for full_attention"),
        ("olmo3_7b", {"rope_parameters": {"full_attention": 3}}, "Expected `object | null`, got `int`"),
        (
            "olmo3_7b",
            {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}},
            "for sliding_attention {'rope_theta': 10000.0}: expected `rope_theta` 500000.0",
        ),
        (
            "olmo3_7b",
            {
                "rope_parameters": {
                    "full_attention": {"rope_theta": 5e5},
                    "sliding_attention": YARN | {"rope_theta": 5e5},
                }
            },
            "and no scaling",
        ),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(preset: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(fields_of(PRESETS[preset], **changes))


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("olmo1_7b", {"pretraining_tp": 1, "rope_scaling": None, "transformers_version": "4.40.0.dev0"}),
        ("olmo1_7b", {"rope_parameters": ..., "rope_theta": ...}),  # 10,000, as both versions say
        ("olmo2_7b", {"temperature": 0.7, "_name_or_path": "x", "output_attentions": False, "num_labels": 2}),
        ("olmo2_7b", {"num_key_value_heads": None, "head_dim": 128}),
        ("olmo3_7b", {"layer_types": ...}),
        ("olmo3_7b", {"rope_parameters": ...}),
        ("olmoe_1b_7b", {"num_experts": ..., "num_local_experts": 64, "output_router_logits": True}),
    ],
)
def test_what_changes_nothing_is_let_through(preset: str, changes: dict[str, Any]) -> None:
    assert model_of(fields_of(PRESETS[preset], **changes)) == PRESETS[preset]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_has_a_class_and_comes_back(name: str) -> None:
    assert model_of(fields_of(PRESETS[name])) == PRESETS[name]


def test_scaling_whose_kind_is_given_by_the_older_key_is_refused_where_versions_differ() -> None:
    fields = fields_of(
        msgspec.structs.replace(VARIANTS["olmo3"], rope_scaling=YarnConfig(factor=4.0, original_length=16))
    )
    old = {("type" if key == "rope_type" else key): value for key, value in fields["rope_scaling"].items()}
    with pytest.raises(ValueError, match="given as `type`"):
        model_of(fields | {"rope_scaling": old})
