"""Keys of params.yaml that have another name now, and those that are gone: refused with the new name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED: dict[str, str] = {  # old dotted key -> new dotted key
    "curate.min_side_px": "curate.size.min_side_px",
    "curate.max_aspect": "curate.size.max_aspect",
    "curate.min_sharpness": "curate.detail.min_sharpness",
    "curate.min_entropy_bits": "curate.detail.min_entropy_bits",
    "curate.duplicate_phash_bits": "curate.duplicates.phash_bits",
    "curate.duplicate_dhash_bits": "curate.duplicates.dhash_bits",
    "curate.review_phash_bits": "curate.duplicates.review_phash_bits",
    "curate.classes": "curate.zero_shot.classes",
    "curate.keep_classes": "curate.zero_shot.keep_classes",
    "curate.min_class_margin": "curate.zero_shot.min_margin",
    "curate.few_shot_labels": "curate.zero_shot.few_shot_labels",
    "curate.media": "curate.medium.prompts",
    "train.look": "train.monitor",
    "train.mirror": "train.horizontal_flip",
    "train.schedule": "train.lr_schedule",
    "train.masks.outside": "train.masks.background_weight",
    "sample.guidance": "sample.guidance_scale",
    "sample.negative": "sample.negative_prompt",
}
REMOVED: dict[str, str] = {  # old dotted key -> why it is gone
    "collect.openverse": "credentials are read from the environment variables OPENVERSE_CLIENT_ID and "
    "OPENVERSE_CLIENT_SECRET",
    "collect.replay": "tests set the environment variable PALEO_HTTP_REPLAY instead",
}


def renamed(raw: Mapping[str, Any]) -> dict[str, str]:
    """The old keys that `raw` has, each with what is said of it: `called 'train.monitor' now`."""
    found = {old: f"called {new!r} now" for old, new in RENAMED.items() if _is_written(raw, old, new)}
    return found | {old: f"no param any more ({why})" for old, why in REMOVED.items() if _has(raw, old)}


def _is_written(raw: Mapping[str, Any], old: str, new: str) -> bool:
    """Whether the old key is there; `caption` is old no more where the new key is `caption.template` and is there."""
    return _has(raw, old) and not (new.startswith(f"{old}.") and _has(raw, new))


def _has(raw: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(raw, Mapping) or part not in raw:
            return False
        raw = raw[part]
    return True
