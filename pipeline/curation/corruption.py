"""Corruption check: plain and garbage pictures, which nothing can be learnt from, wherever they come from.

A decoder can make a plain ground or noise of a damaged file without an error. That a source is trusted says what its
pictures show, not that their files are whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from pipeline.core.param_types import Fraction
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Rejection
from pipeline.curation.check import Check, CheckFindings, CheckParams, rows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.core.data_params import Curate

STEP = "not destroyed"


class CorruptionParams(CheckParams):
    """What is no picture any more, of whatever medium and source."""

    min_entropy_bits: Annotated[float, Field(ge=0)] = 0.2
    """Of the grey values; less is one plain colour. A drawing of a few thin lines has 0.4 and more."""
    max_noise_share: Fraction = 0.2
    """Of the area, without any likeness between neighbouring pixels; photographs have 0.13 at most."""


class CorruptionCheck(Check):
    """Drops as `plain` what has fewer than `min_entropy_bits` (the score), as `noise` what is noise in more than
    `max_noise_share` of its area (the score)."""

    Params = CorruptionParams
    codes = (
        ReasonCode(
            "plain",
            STEP,
            "One plain colour",
            "Nothing is on it; its file may be damaged.",
            "download or copy them again, or lower `curate.corruption.min_entropy_bits`",
            score_digits=2,
        ),
        ReasonCode(
            "noise",
            STEP,
            "Noise",
            "Neighbouring pixels are not alike, as where a damaged file was decoded.",
            "download or copy them again, or raise `curate.corruption.max_noise_share`",
            score_digits=2,
            highest_first=True,
        ),
    )

    def check(self, scores: pd.DataFrame, remaining: np.ndarray, curate: Curate) -> CheckFindings:
        params = CorruptionParams.of(curate)
        entropy_bits, noise_share = (scores[name].to_numpy(dtype=float) for name in ("entropy_bits", "noise_share"))
        plain = remaining & (entropy_bits < params.min_entropy_bits)
        noise = remaining & ~plain & (noise_share > params.max_noise_share)
        drops = {row: _plain(float(entropy_bits[row]), params) for row in rows(plain)}
        return CheckFindings(drops | {row: _noise(float(noise_share[row]), params) for row in rows(noise)})


def _plain(entropy_bits: float, params: CorruptionParams) -> Rejection:
    sentence = (
        f"It is one plain colour: {entropy_bits:.2f} bits of information, and at least {params.min_entropy_bits:g} are "
        "needed."
    )
    return Rejection("corruption", "plain", sentence, entropy_bits)


def _noise(noise_share: float, params: CorruptionParams) -> Rejection:
    sentence = (
        f"{noise_share:.0%} of it is noise, as where a damaged file was decoded, and at most "
        f"{params.max_noise_share:.0%} is allowed."
    )
    return Rejection("corruption", "noise", sentence, noise_share)
