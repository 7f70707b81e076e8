"""The loss curves of all species in one table each, which `dvc plots show` draws whatever the species are called.

Beside the tables lies the script that draws them, Vega, so that no page loads it from the web; `.dvc/plots/page.html`
names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pipeline.io.files import atomic_write

# A table by its name below `site/curves/`: the file of a model's folder that it collects, and that file's columns.
TABLES = {
    "training_loss.csv": ("train.csv", "step,loss,learning_rate,gradient_norm"),
    "held_out_loss.csv": ("held_out_mean.csv", "step,loss,relative"),
    "held_out_loss_by_timestep.csv": ("held_out.csv", "step,timestep,loss,relative"),
}
SCRIPT = "vega.js"
VEGA_LITE = "6.4"  # as in the templates of .dvc/plots/


def write(models: Mapping[str, Path], folder: Path) -> None:
    """Write the tables into `folder`, a row per species and row of its own file, and the script that draws them.

    `models` are the models' folders by species.
    """
    for name, (source, columns) in TABLES.items():
        rows = [f"{species},{row}" for species, model in models.items() for row in _rows(model / source)]
        atomic_write.write_text(folder / name, "\n".join([f"species,{columns}", *rows, ""]))
    atomic_write.write_text(folder / SCRIPT, _vega())


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script (0.9 MB); the same bytes for one version of vl-convert."""
    import vl_convert  # a second, and 80 MB of memory

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def _rows(file: Path) -> list[str]:
    """The lines of a CSV file without its header; none where monitoring was off, which leaves no file."""
    return file.read_text(encoding="utf-8").splitlines()[1:] if file.is_file() else []
