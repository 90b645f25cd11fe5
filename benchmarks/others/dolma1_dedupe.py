"""The deduper of Dolma 1.2.1, for `benchmarks.bloom`; run by an interpreter that has that package.

    PYTHON -I dolma1_dedupe.py SETTINGS

`SETTINGS` is its configuration as JSON. Loads the extension alone, which is all of the deduper: the rest of the package
would load what it needs for other commands. Imports nothing of this project.
"""

import importlib.util
import sys
from pathlib import Path

(path,) = Path(importlib.util.find_spec("dolma").origin).parent.glob("dolma.*.so")
spec = importlib.util.spec_from_file_location("dolma", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.deduper_entrypoint(sys.argv[1])
