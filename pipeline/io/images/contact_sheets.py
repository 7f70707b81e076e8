"""Contact sheets: many pictures as one, in rows with a line of text above each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from pipeline.io.files import stage_outputs

TILE_PX, GAP_PX, MARGIN_PX = 224, 8, 16
TITLE_PX, TEXT_PX = 22, 15  # heights of the letters
MOST_PX = 16_000  # of a side; browsers draw no larger picture
PAPER, INK, MUTED = "#faf8f4", "#1f2326", "#5f6468"  # as the pages have them

Row = tuple[str, Sequence[Path]]


def contact_sheet(title: str, rows: Sequence[Row], tile_px: int = TILE_PX) -> Image.Image:
    """Pictures at most `tile_px` wide and high, each row below its text; smaller ones are enlarged.

    Parameters
    ----------
    title
        Nothing: no line for it.
    rows
        Texts with the files of their pictures.

    Raises
    ------
    InputError
        When a picture is missing or damaged.
    """
    across = max(len(pictures) for _, pictures in rows)
    row_px = TEXT_PX + 2 * GAP_PX + tile_px
    width = 2 * MARGIN_PX + across * (tile_px + GAP_PX) - GAP_PX
    head_px = MARGIN_PX + (TITLE_PX + MARGIN_PX if title else 0)
    shown = rows[: (MOST_PX - head_px) // row_px]
    sheet = Image.new("RGB", (width, head_px + len(shown) * row_px), PAPER)
    draw = ImageDraw.Draw(sheet)
    room = width - 2 * MARGIN_PX
    draw.text((MARGIN_PX, MARGIN_PX), fitting(title, room, TITLE_PX), INK, font=ImageFont.load_default(TITLE_PX))
    for number, (text, pictures) in enumerate(shown):
        top = head_px + number * row_px
        draw.text((MARGIN_PX, top), fitting(text, room, TEXT_PX), MUTED, font=ImageFont.load_default(TEXT_PX))
        for place, path in enumerate(pictures):
            tile = ImageOps.pad(stage_outputs.picture(path), (tile_px, tile_px), Image.Resampling.LANCZOS, color=PAPER)
            sheet.paste(tile, (MARGIN_PX + place * (tile_px + GAP_PX), top + TEXT_PX + GAP_PX))
    return sheet


def fitting(text: str, width_px: int, size_px: int) -> str:
    """The text, cut where the line ends."""
    font, shown = ImageFont.load_default(size_px), text
    while shown and font.getlength(shown) > width_px:
        shown = shown[: -max(2, len(shown) // 16)].rstrip("…") + "…" if len(shown) > 2 else ""
    return shown
