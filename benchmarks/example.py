"""`python -m benchmarks.example SCRIPT …`: a script that imports torchvision, with what is in `standin` in its place.

transformers must not see it: its own pictures code would believe that all of torchvision was there. So it has to look
for torchvision first, and remembers that there is none.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main() -> None:
    import diffusers.utils
    import transformers.utils

    if transformers.utils.is_torchvision_available() or diffusers.utils.is_torchvision_available():
        raise RuntimeError("torchvision is installed here, so nothing may stand in for it")
    sys.path.insert(0, str(Path(__file__).parent / "standin"))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
