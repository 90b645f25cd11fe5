"""Makes `run_works` importable here and, through the path that spawn hands on, in worker processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
