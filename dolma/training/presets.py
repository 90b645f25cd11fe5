"""Models by name: the public ones, OLMo-core's ladder of small sizes, and one for the quickstart.

Sizes are those of the papers and of OLMo-core's presets: OLMo 1 (arXiv:2402.00838, table 1; 0424 and 0724: context
4,096, `clip_qkv` 8; the 1B model of February 2024 has tied embeddings, that of 0724 has not), OLMo 2 (arXiv:2501.00656,
table 1), OLMo 3 (2025: OLMo 2 with sliding windows), OLMoE (arXiv:2409.02060, table 10).
"""

from __future__ import annotations

from typing import Any

import msgspec

from dolma.errors import ConfigError, did_you_mean
from dolma.training.config import ExpertsConfig, ModelConfig, YarnConfig


def _olmo1(*, d_model: int, layers: int, heads: int, mlp_hidden: int, **fields: object) -> ModelConfig:
    defaults = {
        "context_length": 2048,
        "rope_theta": 10_000.0,
        "norm": "layer",
        "norm_eps": 1e-5,
        "norm_position": "pre",
        "qk_norm": False,
        "init": "mitchell",
    }
    sizes = {"d_model": d_model, "layers": layers, "heads": heads, "mlp_hidden": mlp_hidden}
    return msgspec.convert(sizes | defaults | fields, ModelConfig)


def _olmo3(model: ModelConfig) -> ModelConfig:
    return msgspec.structs.replace(model, context_length=8192, sliding_window=4096)


def long_context(model: ModelConfig) -> ModelConfig:
    """The model at 8 times its context, by YaRN on the layers with full attention: OLMo 3's last stage.

    >>> long_context(PRESETS["olmo3_7b"]).context_length
    65536
    """
    scaling = YarnConfig(factor=8.0, original_length=model.context_length)
    return msgspec.structs.replace(model, context_length=8 * model.context_length, rope_scaling=scaling)


_LADDER = {
    "14m": (128, 4, 8, 512),
    "30m": (256, 4, 8, 768),
    "60m": (384, 8, 8, 1536),
    "100m": (512, 12, 8, 2048),
    "190m": (768, 12, 12, 3072),
    "370m": (1024, 16, 16, 4096),
    "600m": (1344, 16, 16, 5376),
    "760m": (1536, 16, 16, 6144),
    "3b": (3328, 16, 16, 13312),
}

_OLMO2: dict[str, ModelConfig] = {
    **{
        f"olmo2_{size}": ModelConfig(d_model=d_model, layers=layers, heads=heads, mlp_hidden=hidden)
        for size, (d_model, layers, heads, hidden) in _LADDER.items()
    },
    "olmo2_1b": ModelConfig(d_model=2048, layers=16, heads=16, mlp_hidden=8192),
    "olmo2_7b": ModelConfig(d_model=4096, layers=32, heads=32, mlp_hidden=11008),
    "olmo2_13b": ModelConfig(d_model=5120, layers=40, heads=40, mlp_hidden=13824),
    "olmo2_32b": ModelConfig(d_model=5120, layers=64, heads=40, kv_heads=8, mlp_hidden=27648),
}

# The two differ in data and learning rates only.
_OLMO1_7B_2024 = _olmo1(d_model=4096, layers=32, heads=32, mlp_hidden=11008, context_length=4096, clip_qkv=8.0)

PRESETS: dict[str, ModelConfig] = {
    "olmo2_quickstart": ModelConfig(d_model=128, layers=4, heads=4, mlp_hidden=512),
    "olmo1_1b": _olmo1(d_model=2048, layers=16, heads=16, mlp_hidden=8192, tied_embeddings=True),
    "olmo1_1b_0724": _olmo1(d_model=2048, layers=16, heads=16, mlp_hidden=8192, context_length=4096, clip_qkv=8.0),
    "olmo1_7b": _olmo1(d_model=4096, layers=32, heads=32, mlp_hidden=11008),
    "olmo1_7b_0424": _OLMO1_7B_2024,
    "olmo1_7b_0724": _OLMO1_7B_2024,
    **_OLMO2,
    **{name.replace("olmo2", "olmo3"): _olmo3(model) for name, model in _OLMO2.items()},
    "olmoe_1b_7b": ModelConfig(
        d_model=2048,
        layers=16,
        heads=16,
        mlp_hidden=1024,
        rope_theta=10_000.0,
        norm_eps=1e-5,
        norm_position="pre",
        experts=ExpertsConfig(count=64, active=8),
    ),
}


def in_words(model: ModelConfig) -> str:
    """A model as a recipe names it: a preset, or the sizes that are not the defaults.

    >>> in_words(PRESETS["olmo2_1b"])
    'olmo2_1b'
    >>> in_words(ModelConfig(d_model=8, layers=1, heads=2, mlp_hidden=16, qk_norm=False))
    '{d_model: 8, layers: 1, heads: 2, mlp_hidden: 16, qk_norm: false}'
    """
    name = next((name for name, preset in PRESETS.items() if preset == model), None)
    return name if name is not None else _flow(msgspec.structs.asdict(model), type(model))


def _flow(fields: dict[str, Any], kind: type[msgspec.Struct]) -> str:
    """The fields of a section that are not the defaults, as YAML in a line."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    said = {
        name: _flow(msgspec.structs.asdict(value), type(value))
        if isinstance(value, msgspec.Struct)
        else msgspec.json.encode(value).decode().strip('"')
        for name, value in fields.items()
        if value != defaults[name]
    }
    return "{" + ", ".join(f"{name}: {value}" for name, value in said.items()) + "}"


def resolve_model(model: str | ModelConfig) -> ModelConfig:
    """The sizes that a recipe names.

    Raises:
        ConfigError: no preset of that name.
    """
    if isinstance(model, ModelConfig):
        return model
    if model not in PRESETS:
        raise ConfigError(
            f"no model {model!r}; {did_you_mean(model, PRESETS)}\n  `dolma train presets` lists them",
            path="$.train.model",
        )
    return PRESETS[model]


def padded_vocabulary(vocab_size: int, *, multiple: int = 128) -> int:
    """The rows of embedding and head: the vocabulary rounded up to a multiple; those that pad it are never targets.

    >>> padded_vocabulary(100_278)
    100352
    """
    return multiple * -(-vocab_size // multiple)


def count_parameters(model: ModelConfig, *, vocab_size: int, embeddings: bool = True, active: bool = False) -> int:
    """All weights; without the input embedding (of an untied model), or only those that one token passes, if asked.

    >>> count_parameters(PRESETS["olmo2_1b"], vocab_size=100_278)
    1484916736
    >>> count_parameters(PRESETS["olmoe_1b_7b"], vocab_size=50_280, active=True)
    1282017280
    """
    norm = model.d_model if model.norm == "rms" else 0
    qk_norm = (model.d_model + model.kv_width) * (model.qk_norm and model.norm == "rms")
    attention = 2 * model.d_model * model.d_model + 2 * model.d_model * model.kv_width + qk_norm
    mlp = 3 * model.d_model * model.mlp_hidden
    if model.experts is not None:
        passed = model.experts.active if active else model.experts.count
        mlp = passed * mlp + model.experts.count * model.d_model
    rows = padded_vocabulary(vocab_size, multiple=model.vocabulary_multiple) * model.d_model
    matrices = 1 if model.tied_embeddings or not embeddings else 2
    return model.layers * (attention + mlp + 2 * norm) + norm + matrices * rows


def largest_parameter(model: ModelConfig, *, vocab_size: int) -> int:
    """How many numbers the largest weight has: the embedding, a matrix of the MLP, or that of all experts."""
    rows = padded_vocabulary(vocab_size, multiple=model.vocabulary_multiple)
    experts = model.experts.count if model.experts is not None else 1
    return model.d_model * max(rows, model.d_model, experts * model.mlp_hidden)
