"""Which pictures are sampled, and the names of their files."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import params as params_module
from pipeline.sampling.prompt_grid import batches, prompt_grid

SAMPLE = params_module.load(Path(__file__).parents[2] / "params.yaml").sample


def test_the_grid_is_every_prompt_with_every_seed():
    sample = SAMPLE.model_copy(update={"prompts": ("{name}", "a {class_noun}"), "seeds": (3, 12345)})
    cells = prompt_grid(sample, name="Raphus cucullatus", class_noun="bird")
    assert [(c.file_name, c.spec.prompt, c.spec.seed) for c in cells] == [
        ("p00-s00003.png", "Raphus cucullatus", 3),
        ("p00-s12345.png", "Raphus cucullatus", 12345),
        ("p01-s00003.png", "a bird", 3),
        ("p01-s12345.png", "a bird", 12345),
    ]


def test_a_seed_given_twice_is_sampled_once():
    sample = SAMPLE.model_copy(update={"prompts": ("{name}",), "seeds": (1, 1, 2)})
    assert len(prompt_grid(sample, name="a", class_noun="b")) == 2


def test_batches_hold_every_cell_once_in_order():
    assert [list(batch) for batch in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
