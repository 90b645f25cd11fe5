"""A number for each document to sample by: the same in every run, on every machine, for a document of the same id.

Dolma 1.2.1 draws `random_number_v1` from a generator seeded with the process id, so no two runs agree. Here the number
comes from the seed (an option) and the document's id alone (`dolma/runner/seeds.py`): not from its place, the shard or
the number of workers. Documents of one id have one number.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat
from dolma.errors import ConfigError
from dolma.runner.seeds import derive_seed


class Random:
    """A number in [0, 1) that depends on nothing but the document's id and the option `seed`.

    >>> Random()(TextBatch.of(["a", "b"], ids=["x", "x"]))["random"].unique().to_pylist()
    [0.9569926110388295]
    """

    name = "random"
    version = 1
    outputs = {"random": DocFloat("uniform over documents of different ids", range="[0, 1)")}

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigError(
                f"the seed of the tagger {self.name!r} is an integer, not {seed!r}\n  give a whole number as `seed`"
            )
        self.seed = seed

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document."""
        drawn = np.array([derive_seed(self.seed, "random", id) for id in batch.ids], dtype=np.uint64)
        return {"random": pa.array((drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53)}


class RandomNumberV1(Random):
    """A number in [0, 1) that depends on nothing but the document's id and the option `seed`.

    >>> tagger = RandomNumberV1(seed=1)
    >>> batch = TextBatch.of(["a"])
    >>> tagger(batch)["random"] == tagger(batch)["random"]
    True
    """

    name = "random_number_v1"
