"""docs/demo.webp: what the base and the fine-tuned models draw in the demo, beside pictures that no model has seen.

Nothing is selected: the columns are the first prompt of `sample.prompts` with its seeds in order, the held-out pictures
the first ones by file name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont, ImageOps

PICTURE = Path(__file__).parents[1] / "docs" / "demo.webp"
SEEDS = 4
SIDE_PX, GAP_PX, HEAD_PX, LEFT_PX = 96, 4, 30, 104
GROUND, INK = (255, 255, 255), (40, 40, 40)


def draw(project: Path, results: Mapping[str, Any]) -> Image.Image:
    """Three rows of pictures, `SEEDS` columns a species; `project` is one whose demo has run."""
    species = results["species"]
    width = LEFT_PX + len(species) * (SEEDS * (SIDE_PX + GAP_PX) + GAP_PX)
    sheet = Image.new("RGB", (width, HEAD_PX + 3 * (SIDE_PX + GAP_PX)), GROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, title in enumerate(("base model", "fine-tuned", "held-out\npictures")):
        pen.multiline_text((4, HEAD_PX + row * (SIDE_PX + GAP_PX) + SIDE_PX // 2 - 16), title, INK, font)
    for number, (key, found) in enumerate(species.items()):
        left = LEFT_PX + number * (SEEDS * (SIDE_PX + GAP_PX) + GAP_PX)
        pen.text((left, 6), found["name"], INK, font)
        for row, paths in enumerate(_rows(project, key, found["chosen_step"])):
            for column, path in enumerate(paths):
                place = (left + column * (SIDE_PX + GAP_PX), HEAD_PX + row * (SIDE_PX + GAP_PX))
                sheet.paste(_square(path), place)
    return sheet


def write(project: Path, results: Mapping[str, Any], path: Path = PICTURE) -> None:
    buffer = io.BytesIO()
    draw(project, results).save(buffer, "WEBP", quality=90, method=6)
    path.write_bytes(buffer.getvalue())


def _rows(project: Path, key: str, step: int) -> list[list[Path]]:
    """The pictures of the base, those of the chosen step, and held-out ones."""
    folder, held_out = project / "samples" / key, project / "data/curated" / key / "holdout"
    table = pd.read_parquet(folder / "samples.parquet")
    first = table[table["prompt_index"] == 0].sort_values("seed")
    drawn = [[folder / name for name in first.loc[first["step"] == of, "file_name"][:SEEDS]] for of in (0, step)]
    return [*drawn, sorted(held_out.glob("*.png"))[:SEEDS]]


def _square(path: Path) -> Image.Image:
    """The middle of a picture, which is what training takes of it."""
    with Image.open(path) as picture:
        return ImageOps.fit(picture.convert("RGB"), (SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
