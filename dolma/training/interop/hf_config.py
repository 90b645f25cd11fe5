"""`config.json` of the classes Olmo, Olmo2, Olmo3 and Olmoe of transformers, both ways.

What a file says is honoured or refused by name, so that a model computes here what it computes there: a key that is
neither known to leave the computation alone nor read below is an error. Fields and defaults are those of transformers
4.57 and 5.24; where the two read a file differently, it is refused. Rotary settings are written in the nested form of
version 5, and in the old one as well, so that both compute the same. Version 4 refuses to read OLMo 1 with YaRN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from dolma.training.config import MOST_LAYERS, ExpertsConfig, ModelConfig, YarnConfig
from dolma.training.model.rope import attention_factor

_ARCHITECTURES = {
    "olmo": "OlmoForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "olmoe": "OlmoeForCausalLM",
}
_OLMO1_EPS = 1e-5  # a constant of the class, not a setting
_OLMO3_THETA = 500_000.0  # of layers with a window, where `rope_parameters` has no entry for them
_OLDER_THETA = 10_000.0  # of the other classes, where nothing gives it
_MOST_IDS = 1 << 32  # as token shards have
_MULTIPLE = 128  # of the rows of an embedding that is taken to be padded
_FULL, _WINDOWED = "full_attention", "sliding_attention"

# Keys that one value only may have: what the classes compute otherwise has no counterpart here.
_ONLY: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "norm_topk_prob": False,
    "partial_rotary_factor": 1.0,
    "pretraining_tp": 1,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "tie_encoder_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "pruned_heads": {},
    "per_layer_config": None,
    "quantization_config": None,
    "auto_map": None,
}
# Keys that change no logits: bookkeeping, what is returned, how text is sampled from logits.
_IRRELEVANT = frozenset(
    """
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path _experts_implementation
    attn_implementation experts_implementation name_or_path transformers_version dtype torch_dtype use_bfloat16
    torchscript tf_legacy_loss use_cache initializer_range output_attentions output_hidden_states output_router_logits
    return_dict chunk_size_feed_forward tie_last_hidden_states id2label label2id num_labels problem_type finetuning_task
    task_specific_params tokenizer_class prefix bos_token_id eos_token_id pad_token_id sep_token_id
    decoder_start_token_id begin_suppress_tokens suppress_tokens bad_words_ids forced_bos_token_id forced_eos_token_id
    diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty
    length_penalty max_length max_new_tokens min_length no_repeat_ngram_size num_beam_groups num_beams
    num_return_sequences output_scores remove_invalid_values repetition_penalty return_dict_in_generate temperature
    top_k top_p typical_p
    """.split()  # noqa: SIM905 - a table of names, not sixty lines
)


class _Fields(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that decide what is computed; those without a default are in every file that transformers saves."""

    model_type: str
    architectures: list[str] | None = None
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    rms_norm_eps: float | None = None
    tie_word_embeddings: bool = False
    clip_qkv: float | None = None
    sliding_window: int | None = None
    layer_types: list[str] | None = None
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    num_experts: int | None = None
    num_local_experts: int | None = None
    num_experts_per_tok: int | None = None
    router_aux_loss_coef: float | None = None


class _Rope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rotary settings, of all layers or of those of one type."""

    rope_type: str | None = None
    type: str | None = None
    rope_theta: float | None = None
    factor: float | None = None
    original_max_position_embeddings: int | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool | None = None
    partial_rotary_factor: float | None = None


# --- writing ---------------------------------------------------------------------------------------------------------


def family_of(model: ModelConfig) -> str:
    """The `model_type` whose class computes what this model computes.

    Raises:
        ValueError: there is none.
    """
    kind = (model.norm, model.norm_position, model.qk_norm, model.experts is not None)
    families = {
        ("layer", "pre", False, False): "olmo",
        ("rms", "post", True, False): "olmo3" if model.sliding_window or model.rope_scaling else "olmo2",
        ("rms", "pre", True, True): "olmoe",
    }
    family = families.get(kind)
    if family is None:
        raise ValueError(
            f"no model class of transformers has `norm` {model.norm}, `norm_position` {model.norm_position}, `qk_norm` "
            f"{model.qk_norm} and {'' if model.experts else 'no '}experts together"
        )
    lacking = {
        "sliding_window": model.sliding_window is not None and family != "olmo3",
        "clip_qkv": model.clip_qkv is not None and family != "olmo",
        "norm_eps": model.norm_eps != _OLMO1_EPS and family == "olmo",
    }
    for name, lacks in lacking.items():
        if lacks:
            raise ValueError(
                f"no model class of transformers computes this model: {_ARCHITECTURES[family]}, the nearest, does not "
                f"do what `{name}` {getattr(model, name)} does here"
            )
    return family


def hf_config(
    model: ModelConfig, *, vocab_size: int, eos_id: int | None, pad_id: int | None = None, dtype: str = "float32"
) -> dict[str, Any]:
    """The `config.json` of a model. `vocab_size` is the number of rows that the exported embedding has.

    Raises:
        ValueError: no class of transformers computes this model.
    """
    family = family_of(model)
    fields: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[family]],
        "model_type": family,
        "vocab_size": vocab_size,
        "hidden_size": model.d_model,
        "intermediate_size": model.mlp_hidden,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads or model.heads,
        "hidden_act": "silu",
        "max_position_embeddings": model.context_length,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": model.tied_embeddings,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        "dtype": dtype,
        "torch_dtype": dtype,
        "rope_theta": model.rope_theta,
    }
    if family != "olmo":
        fields["rms_norm_eps"] = model.norm_eps
    if family in ("olmo", "olmoe"):
        fields["clip_qkv"] = model.clip_qkv
    plain: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rope_theta}
    scaled = plain
    if model.rope_scaling is not None:
        fields["rope_scaling"] = _yarn_fields(model.rope_scaling)
        scaled = plain | fields["rope_scaling"]
    fields["rope_parameters"] = scaled
    if family == "olmo3":
        windowed = [model.window_of(layer) is not None for layer in range(model.layers)]
        fields |= {
            "sliding_window": model.sliding_window or model.context_length,
            "layer_types": [_WINDOWED if is_windowed else _FULL for is_windowed in windowed],
            "rope_parameters": {_FULL: scaled, _WINDOWED: plain},
        }
    if model.experts is not None:
        fields |= {
            "num_experts": model.experts.count,
            "num_experts_per_tok": model.experts.active,
            "norm_topk_prob": False,
            "router_aux_loss_coef": model.experts.load_balance_loss,
            "output_router_logits": False,
        }
    return fields


def _yarn_fields(yarn: YarnConfig) -> dict[str, Any]:
    return {
        "rope_type": "yarn",
        "factor": yarn.factor,
        "original_max_position_embeddings": yarn.original_length,
        "beta_fast": yarn.beta_fast,
        "beta_slow": yarn.beta_slow,
        "attention_factor": attention_factor(yarn),
    }


# --- reading ---------------------------------------------------------------------------------------------------------


def model_of(given: Mapping[str, Any]) -> ModelConfig:
    """The model that a `config.json` describes.

    Raises:
        ValueError: it is of another class, or has a setting that is not honoured here; which one is said.
    """
    if given.get("model_type") not in list(_ARCHITECTURES):  # a list, because what is given may have no hash
        raise ValueError(f"`model_type` is {given.get('model_type')!r}, expected one of {', '.join(_ARCHITECTURES)}")
    unknown = given.keys() - set(_Fields.__struct_fields__) - _ONLY.keys() - _IRRELEVANT
    if unknown:
        raise ValueError(
            f"`{min(unknown)}` is no key that is known here, and it may change what the model computes\n"
            "  if it does not, take it out of the file"
        )
    for name, only in _ONLY.items():
        _refuse_other(name, given.get(name), only)
    fields = msgspec.convert(dict(given), _Fields)
    family = fields.model_type
    if not 1 <= fields.vocab_size <= _MOST_IDS:
        raise ValueError(f"`vocab_size` is {fields.vocab_size}, expected 1 to {_MOST_IDS:,}")
    if fields.num_hidden_layers > MOST_LAYERS:
        raise ValueError(f"`num_hidden_layers` is {fields.num_hidden_layers:,}, expected at most {MOST_LAYERS:,}")
    _check_family(fields, family)
    experts = None
    if family == "olmoe":
        experts = ExpertsConfig(
            count=_needed(fields.num_experts or fields.num_local_experts, "num_experts"),
            active=_needed(fields.num_experts_per_tok, "num_experts_per_tok"),
            load_balance_loss=0.01 if fields.router_aux_loss_coef is None else fields.router_aux_loss_coef,
        )
    heads, window = fields.num_attention_heads, _window_of(fields, family)
    theta, scaling = _rope_of(fields, family, windowed=window is not None)
    model = ModelConfig(
        d_model=fields.hidden_size,
        layers=fields.num_hidden_layers,
        heads=heads,
        kv_heads=None if fields.num_key_value_heads in (None, heads) else fields.num_key_value_heads,
        mlp_hidden=fields.intermediate_size,
        context_length=fields.max_position_embeddings,
        rope_theta=theta,
        rope_scaling=scaling,
        norm="layer" if family == "olmo" else "rms",
        norm_eps=_OLMO1_EPS if family == "olmo" else _needed(fields.rms_norm_eps, "rms_norm_eps"),
        norm_position="pre" if family in ("olmo", "olmoe") else "post",
        qk_norm=family != "olmo",
        clip_qkv=fields.clip_qkv,
        sliding_window=window,
        experts=experts,
        tied_embeddings=fields.tie_word_embeddings,
        vocabulary_multiple=1 if fields.vocab_size % _MULTIPLE else _MULTIPLE,
        init="mitchell" if family == "olmo" else "normal",
    )
    _check_layers(fields, family, model)
    return model


def _check_family(fields: _Fields, family: str) -> None:
    """Refuse what the class of this family does not read, or what it is not."""
    _refuse_other("architectures", fields.architectures or None, [_ARCHITECTURES[family]])
    _refuse_other("head_dim", fields.head_dim, fields.hidden_size // max(fields.num_attention_heads, 1))
    if family == "olmoe" and fields.clip_qkv is not None:
        raise ValueError(
            f"`clip_qkv` is {fields.clip_qkv}: OLMoE's class clips after its norms, which is not done here"
        )
    if family in ("olmo2", "olmo3"):
        _refuse_other("clip_qkv", fields.clip_qkv, None)
    if family != "olmo3":
        _refuse_other("sliding_window", fields.sliding_window, None)
        if fields.layer_types is not None:
            _refuse_other("layer_types", fields.layer_types, [_FULL] * fields.num_hidden_layers)


def _layer_types(fields: _Fields, family: str) -> list[str]:
    if fields.layer_types or family != "olmo3":
        return fields.layer_types or []
    return [_FULL if layer % 4 == 3 else _WINDOWED for layer in range(fields.num_hidden_layers)]


def _window_of(fields: _Fields, family: str) -> int | None:
    if _WINDOWED not in _layer_types(fields, family):
        return None
    return _needed(fields.sliding_window, "sliding_window")


def _check_layers(fields: _Fields, family: str, model: ModelConfig) -> None:
    """Refuse windows on other layers than the model has them."""
    found = _layer_types(fields, family)
    wanted = [_FULL if model.window_of(layer) is None else _WINDOWED for layer in range(model.layers)]
    if found and found != wanted:
        raise ValueError(
            f"`layer_types` is {found}: expected three layers with a window, then one without, and the last without"
        )


def _rope_of(fields: _Fields, family: str, *, windowed: bool) -> tuple[float, YarnConfig | None]:
    """Theta and scaling of layers with full attention; others have the same theta and no scaling."""
    full, sliding = fields.rope_parameters, None
    if full and family == "olmo3":
        if full.keys() - {_FULL, _WINDOWED}:
            raise ValueError(f"`rope_parameters` is {full}: expected an entry for {_FULL} and one for {_WINDOWED}")
        entries = msgspec.convert(full, dict[str, dict[str, Any] | None])
        full, sliding = entries.get(_FULL), entries.get(_WINDOWED)
    if family == "olmo3" and any(
        given and given.keys() & {"rope_type", "type"} == {"type"} for given in (fields.rope_scaling, full, sliding)
    ):
        raise ValueError(
            "the kind of scaling is given as `type`, which versions of transformers read differently: expected "
            "`rope_type`"
        )
    found = set()
    if full:
        found.add(_rope(full, fields.rope_theta))
        if fields.rope_theta is not None:
            found.add((fields.rope_theta, _rope(full, None)[1]))
    if fields.rope_scaling or not full:
        found.add(_rope(fields.rope_scaling or {}, _rope(full or {}, fields.rope_theta)[0]))
    if len(found) > 1:
        raise ValueError(
            "`rope_parameters`, `rope_scaling` and `rope_theta` disagree, and versions of transformers read one or the "
            "other"
        )
    theta, scaling = found.pop()
    if family != "olmo3" and theta is None:
        theta = _OLDER_THETA
    theta = _needed(theta, "rope_theta")
    if windowed and _rope(sliding or {}, _OLMO3_THETA) != (theta, None):
        raise ValueError(
            f"`rope_parameters` has for {_WINDOWED} {sliding or f'nothing, which is `rope_theta` {_OLMO3_THETA}'}: "
            f"expected `rope_theta` {theta}, as for {_FULL}, and no scaling"
        )
    return theta, scaling


def _rope(given: dict[str, Any], default_theta: float | None) -> tuple[float | None, YarnConfig | None]:
    """Theta and scaling as one place gives them."""
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in ("default", "yarn"):
        raise ValueError(f"`rope_type` is {kind!r}, expected default or yarn")
    rope = msgspec.convert(given, _Rope)
    _refuse_other("partial_rotary_factor", rope.partial_rotary_factor, 1.0)
    _refuse_other("truncate", rope.truncate, True)
    theta = default_theta if rope.rope_theta is None else rope.rope_theta
    if kind == "default":
        return theta, None
    yarn = YarnConfig(
        factor=_needed(rope.factor, "factor"),
        original_length=_needed(rope.original_max_position_embeddings, "original_max_position_embeddings"),
        beta_fast=rope.beta_fast or 32.0,
        beta_slow=rope.beta_slow or 1.0,
    )
    given_factor = rope.attention_factor
    if given_factor is None and rope.mscale and rope.mscale_all_dim:
        over = _mscale(yarn.factor, rope.mscale_all_dim)
        if over == 0:
            raise ValueError(f"`mscale_all_dim` is {rope.mscale_all_dim}: with `factor` {yarn.factor} it divides by 0")
        given_factor = _mscale(yarn.factor, rope.mscale) / over
    if given_factor in (None, attention_factor(yarn)):
        return theta, yarn
    return theta, msgspec.structs.replace(yarn, attention_factor=given_factor)


def _mscale(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1.0


def _refuse_other(name: str, found: Any, only: Any) -> None:
    if found is not None and found != only:
        raise ValueError(f"`{name}` is {found!r}, expected {only!r}")


def _needed(value: Any, name: str) -> Any:
    if value is None:
        raise ValueError(f"`{name}` is missing")
    return value
