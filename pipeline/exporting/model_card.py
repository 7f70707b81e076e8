"""The card of an exported model: the `README.md` that Hugging Face shows, with its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.markdown import code, plain
from pipeline.core.metric_spec import MetricSpec

ADAPTER_GALLERY = "template:sd-lora"  # the tag by which Hugging Face shows the pictures of an adapter as a gallery


@dataclass(frozen=True)
class CardContent:
    """What a card says; what is not known is empty."""

    title: str
    name: str
    """Of the species."""
    trigger: str
    method: str
    pipeline_class: str
    adapters: bool
    base: str
    """The base model's folder as the training names it."""
    base_model: str
    """Its id on Hugging Face, or the folder's name."""
    base_licence: Mapping[str, str]
    """What the base model's own card says of its licence: license, license_name, license_link."""
    step: int
    lineage_id: str
    dataset_digest: str
    licences: Mapping[str, int]
    """Of the training pictures, with their numbers."""
    scores: Sequence[tuple[MetricSpec, float | None, float]]
    """A metric, its value of the base model and of this step."""
    pictures: Sequence[tuple[str, str]]
    """Prompt and file."""
    load: Sequence[str]
    """Lines that say how the files are loaded."""


def model_card(content: CardContent) -> str:
    """README.md of an exported model."""
    sections = [
        [
            f"# {plain(content.name)}",
            f"A text-to-image model of {plain(content.name)}: {content.method.replace('_', ' ')} of the base model "
            f"`{code(content.base)}`, step {content.step}, made with paleoforge.",
        ],
        _pictures(content),
        ["## Trigger words", f"Write `{code(content.trigger)}` in the prompt."],
        ["## Loading", "```", *(code(line.removeprefix("  ")) for line in content.load), "```"],
        _scores(content),
        _licences(content),
        [
            "## Where it comes from",
            f"Lineage `{content.lineage_id}` (data, base, params and code), data set `{content.dataset_digest[:16]}`.",
        ],
    ]
    text = "\n\n".join("\n".join(section) for section in sections if section)
    return f"---\n{_front_matter(content)}\n---\n{text}\n"


def _pictures(content: CardContent) -> list[str]:
    return [f"![{plain(prompt)}]({file})" for prompt, file in content.pictures]


def _scores(content: CardContent) -> list[str]:
    if not content.scores:
        return ["## Measured", "This step is not evaluated."]
    rows = [
        f"| {spec.title} | {spec.text(base) if base is not None else ''} | {spec.text(value)} |"
        for spec, base, value in content.scores
    ]
    return ["## Measured", "| metric | base model | this model |", "|---|---:|---:|", *rows]


def _licences(content: CardContent) -> list[str]:
    of_base = content.base_licence.get("license_name", content.base_licence.get("license", ""))
    lines = ["## Licences"]
    if of_base:
        lines += [f"Of the base model, and so of this one: `{code(of_base)}`."]
    else:
        lines += ["The base model's folder states no licence; find out which it has before you pass this model on."]
    if content.licences:
        rows = [f"| {plain(licence)} | {n} |" for licence, n in content.licences.items()]
        lines += ["The pictures that it learnt from are credited in `CREDITS.csv`.", "", "| licence | pictures |"]
        lines += ["|---|---:|", *rows]
    return lines


def _front_matter(content: CardContent) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # a quarter of a second

    licence = content.base_licence
    data = ModelCardData(
        license=licence.get("license", "unknown"),
        license_name=licence.get("license_name"),
        license_link=licence.get("license_link"),
        base_model=content.base_model,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        instance_prompt=content.trigger,
        tags=_tags(content),
        widget=[{"text": prompt, "output": {"url": file}} for prompt, file in content.pictures] or None,
        model_name=content.title,
        eval_results=[
            EvalResult(
                task_type="text-to-image",
                dataset_type="imagefolder",
                dataset_name=f"held-out pictures of {content.name}",
                metric_type=spec.name,
                metric_name=spec.title,
                metric_value=round(value, 4),
            )
            for spec, _, value in content.scores
        ]
        or None,
    )
    return str(data.to_yaml())


def _tags(content: CardContent) -> list[str]:
    gallery = [ADAPTER_GALLERY] if content.adapters else []
    return ["text-to-image", "diffusers", f"diffusers:{content.pipeline_class}", content.method, *gallery, "paleoforge"]
