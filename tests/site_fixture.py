"""A small finished project on disk, true to the tables and cards of docs/architecture.md, with drawn stand-ins."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from pipeline.core import params as params_module
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.io.files import atomic_write, parquet

SHIPPED = (Path(__file__).parents[1] / "params.yaml").read_text()
CHECKPOINTS = (("base", 0), ("step-000050", 50), ("step-000250", 250), ("step-000500", 500))
KEPT, HELD_OUT = 12, 4
DROPPED = (
    ("too_small", "shorter side 41 px, at least 96 are needed"),
    ("near_duplicate", "looks like another picture"),
    ("near_duplicate", "looks like another picture"),
    ("other_class", "looks like a bat"),
    ("blurred", "too blurred"),
)
LICENCES = (
    ("CC0-1.0", ""),
    ("CC-BY-4.0", "Ada <script>alert(1)</script> Lovelace"),
    ("CC-BY-SA-4.0", "B. | Pipe *star*"),
    ("PDM-1.0", "unknown master"),
)


def params(**replaced: str) -> Params:
    """The shipped params, with literal replacements `old=new` as pairs of strings in a dict."""
    text = SHIPPED
    for old, new in replaced.items():
        text = text.replace(old, new, 1)
    return params_module.parse(text, "params.yaml")


def picture(seed: int, side: int = 64, warmth: float = 0.5) -> Image.Image:
    """A winged blot before a graded sky; every seed another one."""
    turn = (seed * 0.618) % 1
    sky = tuple(int(150 + 90 * math.sin(6.28 * (turn + shift))) for shift in (0, 0.33, 0.66))
    image = Image.new("RGB", (side * 2, side * 2), sky)
    draw = ImageDraw.Draw(image)
    for row in range(side * 2):
        share = row / (side * 2)
        draw.line([(0, row), (side * 2, row)], fill=tuple(int(c * (1 - 0.45 * share)) for c in sky))
    x, y = side * (0.7 + 0.6 * turn), side * (0.8 + 0.4 * ((seed * 0.37) % 1))
    wing, body = side * (0.35 + 0.4 * warmth), (int(70 + 150 * warmth), int(110 - 40 * warmth), 60)
    draw.polygon([(x, y), (x - wing, y - wing * 0.5), (x - wing * 0.4, y + wing * 0.3)], fill=body)
    draw.polygon([(x, y), (x + wing, y - wing * 0.5), (x + wing * 0.4, y + wing * 0.3)], fill=body)
    draw.ellipse([x - side * 0.12, y - side * 0.2, x + side * 0.12, y + side * 0.22], fill=(40, 34, 30))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def png(image: Image.Image, parameters: str = "", texts: dict[str, str] | None = None) -> bytes:
    buffer, info = io.BytesIO(), PngInfo()
    for key, text in {**({"parameters": parameters} if parameters else {}), **(texts or {})}.items():
        info.add_text(key, text)
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def write_curated(
    params: Params, paths: Paths, first: int = 0, kept: int = KEPT, held_out: int = HELD_OUT
) -> pd.DataFrame:
    """What curation leaves: pictures, both tables, card; report, contact sheet, thumbnails. Returns metadata."""
    name = params.species[paths.species].name
    rows = [_kept(paths, name, first + i, "holdout" if i < held_out else "train") for i in range(kept)]
    rows += [
        _row(name, first + 100 + i, verdict="drop", code=code, sentence=sentence)
        for i, (code, sentence) in enumerate(DROPPED)
    ]
    for row in rows:
        thumb = io.BytesIO()
        picture(int(row["source_id"]), 96, 0.9).save(thumb, "WEBP")
        atomic_write.write_bytes(paths.curation / "thumbs" / f"{row['sha256']}.webp", thumb.getvalue())
    verdicts = pd.DataFrame(rows).sort_values(["source", "source_id"], ignore_index=True)
    metadata = verdicts[verdicts["verdict"] == "keep"].reset_index(drop=True)
    metadata = metadata[["file_name", *[c for c in metadata.columns if c != "file_name"]]]
    parquet.write(paths.curated / "verdicts.parquet", verdicts)
    write_metadata(paths, metadata)
    shown = "".join(f'<img src="thumbs/{row["sha256"]}.webp" alt="">' for row in rows)
    for page in ("index.html", "contact_sheet.html"):
        atomic_write.write_text(
            paths.curation / page,
            f'<!doctype html><title>{page}</title><a href="{paths.gallery_link(paths.curation)}">gallery</a> '
            f'<a href="index.html">curation</a><p>kept and dropped {shown}',
        )
    by_code = {code: sum(c == code for c, _ in DROPPED) for code, _ in DROPPED}
    atomic_write.write_card(
        paths.curated,
        stage="curate",
        species=paths.species,
        digest=_digest(f"set {paths.species}"),
        n_train=kept - held_out,
        n_holdout=held_out,
        n_dropped=len(DROPPED),
        by_code=by_code,
    )
    return metadata


def write_metadata(paths: Paths, metadata: pd.DataFrame) -> None:
    parquet.write(paths.curated / "metadata.parquet", metadata)


def write_validation(paths: Paths) -> None:
    verdict = {
        "species": paths.species,
        "success": True,
        "stopped": [],
        "warned": ["author"],
        "expectations": [],
        "n_train": KEPT - HELD_OUT,
        "n_holdout": HELD_OUT,
        "dataset_digest": _digest(f"set {paths.species}"),
    }
    atomic_write.write_json(paths.validation / "verdict.json", verdict)
    back = f'<a href="{paths.gallery_link(paths.validation)}">gallery</a>'
    page = f"<!doctype html><title>Validation</title>{back}<p>accepted"
    atomic_write.write_text(paths.validation / "index.html", page)
    atomic_write.write_card(paths.validation, stage="validate", species=paths.species, success=True)


def write_model(params: Params, paths: Paths) -> None:
    steps = params.train.steps
    lines = [
        f"{s},{0.2 + 0.6 * math.exp(-s / 120) + 0.05 * math.sin(s * 12.9898):.6f},0.0003,{1 + 0.2 * math.cos(s):.6f}"
        for s in range(1, steps + 1)
    ]
    atomic_write.write_text(
        paths.model / "train.csv", "\n".join(["step,loss,learning_rate,gradient_norm", *lines]) + "\n"
    )
    atomic_write.write_text(
        paths.model / "held_out_mean.csv", "step,loss,relative\n0,0.4,1\n50,0.36,0.9\n250,0.38,0.95\n500,0.42,1.05\n"
    )
    for step, seed in ((0, 1), (0, 2), (50, 1), (50, 2)):
        name = params.species[paths.species].name
        content = png(picture(step + seed, 32), texts={"prompt": name, "seed": str(seed), "step": str(step)})
        atomic_write.write_bytes(paths.model / f"previews/step-{step:06d}/01-s{seed}.png", content)
    snapshots = [{"step": step, "path": label} for label, step in CHECKPOINTS if step]
    atomic_write.write_card(
        paths.model,
        stage="train",
        species=paths.species,
        name=params.species[paths.species].name,
        family="sd",
        method="dreambooth",
        base="pipeline/assets/tiny",
        base_digest=_digest("base"),
        dataset_digest=_digest(f"set {paths.species}"),
        lineage_id=_digest(f"lineage {paths.species}")[:16],
        steps=steps,
        snapshots=snapshots,
        params={"train": params.train.model_dump(mode="json"), "seed": params.seed},
        trigger=params.species[paths.species].name,
    )


def write_samples(params: Params, paths: Paths) -> pd.DataFrame:
    species, sample, rows = params.species[paths.species], params.sample, []
    for label, step in CHECKPOINTS:
        for index, template in enumerate(sample.prompts):
            for seed in sample.seeds:
                prompt = fill_prompt(template, name=species.name, class_noun=species.class_noun)
                settings = f"Steps: {sample.steps}, Sampler: {sample.sampler}, CFG scale: {sample.guidance_scale:g}"
                text = f"{prompt}\n{settings}, Seed: {seed}, Size: 64x64"
                content = png(picture(index * 7 + seed, 64, min(1.0, step / 300)), text)
                file_name = f"{label}/p{index:02d}-s{seed:05d}.png"
                atomic_write.write_bytes(paths.samples / file_name, content)
                rows.append(
                    {
                        "file_name": file_name,
                        "checkpoint": label,
                        "step": step,
                        "prompt_index": index,
                        "template": template,
                        "prompt": prompt,
                        "seed": seed,
                        "sampler": sample.sampler,
                        "steps": sample.steps,
                        "guidance_scale": sample.guidance_scale,
                        "negative_prompt": sample.negative_prompt,
                        "width_px": 64,
                        "height_px": 64,
                        "sha256": hashlib.sha256(content).hexdigest(),
                    }
                )
    table = pd.DataFrame(rows)
    parquet.write(paths.samples / "samples.parquet", table)
    atomic_write.write_card(
        paths.samples,
        stage="sample",
        species=paths.species,
        lineage_id=_digest(f"lineage {paths.species}")[:16],
        n_images=len(rows),
        checkpoints=[label for label, _ in CHECKPOINTS],
    )
    return table


def write_evaluation(params: Params, paths: Paths, samples: pd.DataFrame, metadata: pd.DataFrame) -> None:
    train = metadata.loc[metadata["split"] == "train", "file_name"].tolist()
    rows = [
        {
            "file_name": s.file_name,
            "checkpoint": s.checkpoint,
            "step": s.step,
            "prompt_index": s.prompt_index,
            "prompt": s.prompt,
            "seed": s.seed,
            "clip_t": 0.2 + 0.0002 * s.step,
            "clip_i": 0.5 + 0.0006 * s.step,
            "species_hit": s.step >= 250 or (s.seed + s.prompt_index) % 3 == 0,
            "nearest_species": paths.species,
            "nearest_train": train[(s.prompt_index + s.seed) % len(train)],
            "nearest_train_cosine": 0.6 + 0.0005 * s.step,
            "memorised": s.step == 500 and s.seed == 1,
        }
        for s in samples.itertuples()
    ]
    parquet.write(paths.evaluation / "details/per_image.parquet", pd.DataFrame(rows))
    steps = {str(step): _metrics(step) for _, step in CHECKPOINTS}
    plain = {step: {metric: entry["value"] for metric, entry in values.items()} for step, values in steps.items()}
    atomic_write.write_json(
        paths.evaluation / "metrics.json", {"chosen_step": 250, "base": plain["0"], "chosen": plain["250"]}
    )
    atomic_write.write_json(
        paths.evaluation / "details/verdict.json",
        {
            "species": paths.species,
            "step": 250,
            "chosen_checkpoint": "step-000250",
            "primary": "species_accuracy",
            "reason": "step 250: species accuracy 88 % [82, 93] against 31 % for the base; step 50 reaches 57 %",
            "better_than_base": True,
            "steps": steps,
            "real": {"species_accuracy": 1.0, "clip_i": 0.83, "clip_t": 0.245},
            "missing": {},
            "gain": {"value": 0.61, "low": 0.5, "high": 0.72, "n": 24},
        },
    )
    lineage = _digest(f"lineage {paths.species}")[:16]
    atomic_write.write_card(paths.evaluation / "details", stage="evaluate", species=paths.species, lineage_id=lineage)


def complete(params: Params, root: Path, species: str) -> Paths:
    """Everything that the stages before the gallery leave behind for one species."""
    paths = Paths(root, species)
    first = 10 * list(params.species).index(species)
    metadata = write_curated(params, paths, first=first)
    write_validation(paths)
    write_model(params, paths)
    write_evaluation(params, paths, write_samples(params, paths), metadata)
    return paths


def _kept(paths: Paths, name: str, number: int, split: str) -> dict:
    content = png(picture(number, 200, 0.9))
    row = _row(name, number, verdict="keep", code="", sentence="kept")
    row |= {"sha256": hashlib.sha256(content).hexdigest(), "pixel_sha256": _digest(f"pixels {number}"), "split": split}
    row["file_name"] = f"{split}/{row['sha256'][:16]}.png"
    atomic_write.write_bytes(paths.curated / row["file_name"], content)
    return row


def _row(name: str, number: int, **given: object) -> dict:
    licence, author = LICENCES[number % len(LICENCES)]
    sha256 = _digest(f"original {number}")
    return {
        "source": "folder",
        "source_id": f"{number:04d}",
        "image_url": "",
        "page_url": f"https://example.org/{number}" if number % 2 else "",
        "title": f"Plate {number}",
        "caption": f"a painting of {name} flying",
        "author": author,
        "licence": licence,
        "licence_url": f"https://example.org/{licence}",
        "sha256": sha256,
        "path": f"images/{sha256}.png",
        "bytes": 1000 + number,
        "kept": True,
        "reason_code": "",
        "reason": "",
        "score": 0.1,
        "width_px": 200,
        "height_px": 200,
        "sharpness": 90.0,
        "phash": "0" * 16,
        "dhash": "0" * 16,
        "pixel_sha256": sha256,
        "group": f"g{number:04d}",
        "clip_class": "life reconstruction",
        "clip_margin": 0.05,
        "split": "",
        "file_name": "",
        **given,
    }


def _metrics(step: int) -> dict[str, dict]:
    gain = 1 - math.exp(-step / 90)
    values = {
        "species_accuracy": 0.31 + 0.61 * gain,
        "clip_t": 0.21 + 0.03 * gain,
        "clip_i": 0.5 + 0.3 * gain,
        "diversity": 0.4 - 0.1 * gain,
        "nearest_train": 0.6 + 0.25 * gain,
    }
    return {
        metric: {"value": round(v, 4), "low": round(v - 0.06, 4), "high": round(v + 0.05, 4), "n": 24}
        for metric, v in values.items()
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
