"""`python -m benchmarks.run_without_torchvision SCRIPT …`: runs a script with `torchvision_stub` for torchvision.

transformers must not find the stub: its own image code would assume all of torchvision. So it has to look for
torchvision first, and caches that there is none.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    import diffusers.utils
    import transformers.utils

    if transformers.utils.is_torchvision_available() or diffusers.utils.is_torchvision_available():
        raise RuntimeError("torchvision is installed here, so no stub may replace it")
    sys.path.insert(0, str(Path(__file__).parent / "torchvision_stub"))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
