"""Contact sheets: rows of pictures with their texts, whatever their sizes."""

from __future__ import annotations

import pytest
from PIL import Image

from pipeline.core.errors import InputError
from pipeline.io.images import contact_sheets
from pipeline.io.images.contact_sheets import TILE_PX, contact_sheet


def files(folder, *sizes):
    paths = [folder / f"{number}.png" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        Image.new("RGB", size, "#c02040").save(path)
    return paths


def test_small_and_wide_pictures_stand_in_rows_of_one_width(tmp_path):
    paths = files(tmp_path, (16, 16), (1024, 256), (64, 128))
    sheet = contact_sheet("Raphus cucullatus · step 500", [("a bird", paths[:2]), ("a bird that flies", paths[2:])])
    across = 2 * TILE_PX + contact_sheets.GAP_PX + 2 * contact_sheets.MARGIN_PX
    assert sheet.width == across and sheet.height > 2 * TILE_PX
    red = sum(n for n, colour in sheet.getcolors(sheet.width * sheet.height) if colour == (192, 32, 64))
    assert red == pytest.approx(TILE_PX**2 + TILE_PX * TILE_PX // 4 + TILE_PX * TILE_PX // 2, rel=0.05)
    assert contact_sheet("", [("a bird", paths[:1])], 64).width == 64 + 2 * contact_sheets.MARGIN_PX


def test_a_thousand_rows_make_no_picture_that_no_browser_draws(tmp_path):
    [path] = files(tmp_path, (8, 8))
    assert contact_sheet("many", [("row", [path])] * 1000, 64).height <= contact_sheets.MOST_PX


def test_a_long_prompt_is_cut_where_the_sheet_ends():
    short = contact_sheets.fitting("flying over the sea " * 40, 300, 15)
    assert short.endswith("…") and 20 < len(short) < 60
    assert contact_sheets.fitting("a bird", 300, 15) == "a bird"


def test_a_sample_that_is_gone_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is missing, though its table names it; run the stage that writes it again"):
        contact_sheet("gone", [("row", [tmp_path / "gone.png"])])
