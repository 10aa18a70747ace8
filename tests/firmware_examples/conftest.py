from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# frames.py is a script; the small networks are those of the tests of the C target.
for folder in (ROOT / "firmware_examples", ROOT / "tests" / "targets" / "c", ROOT / "tests" / "graph"):
    sys.path.append(str(folder))
