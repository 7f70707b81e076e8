"""The model card of a version: everything that a visitor of the registry must know, and nothing that could be code."""

from __future__ import annotations

import ast
import re

from pipeline.core.releases import ReleaseLinks
from pipeline.registry.model_card import model_card

CARD = {
    "species": "dodo",
    "name": "Raphus <script>alert(1)</script> | *cucullatus*",
    "method": "lora",
    "base": "base_models/sd15",
    "trigger": "sks bird",
}
METRICS = {
    "chosen_step": 250,
    "reason": "step 250: better",
    "base": {"species_accuracy": 0.31, "clip_i": 0.5, "memorised": None},
    "chosen": {"species_accuracy": 0.9, "clip_i": 0.8, "memorised": None},
}


def text(**changed) -> str:
    given = {
        "class_noun": "bird",
        "licences": {"CC0-1.0": 3, "CC-BY-4.0": 4},
        "made_from": {"data": "dodo/v2"},
        "links": ReleaseLinks(),
        **changed,
    }
    return model_card(CARD, METRICS, **given)


def test_it_says_what_it_is_how_good_under_which_licences_and_by_which_words():
    shown = text()
    assert "step 250 of a lora training of `base_models/sd15`, on 7 pictures" in shown
    assert "Trigger words: `sks bird`" in shown
    assert "data `dodo/v2`" in shown
    assert re.search(r"\| `species_accuracy`\S* \| 31 %\S* \| 90 %\S* \|", shown)
    assert re.search(r"\| `memorised`\S* \| –\S* \| –\S* \|", shown)
    assert re.search(r"CC0-1.0\S* \| CC-BY-4.0\S* \|", shown) and re.search(r"\| 3\S* \| 4\S* \|", shown)


def test_three_lines_load_it():
    [code] = re.findall(r"```python\n(.*?)\n```", text(), re.DOTALL)
    assert len(ast.parse(code).body) == 3 and '"models:/dodo@champion"' in code


def test_its_picture_and_links_are_there_when_there_are_any():
    links = ReleaseLinks("get-artifact?path=x.png", {"gallery": "http://127.0.0.1:8080/dodo/index.html"})
    shown = text(links=links)
    assert shown.startswith("![base and chosen step](get-artifact?path=x.png)")
    assert shown.endswith("[gallery](http://127.0.0.1:8080/dodo/index.html)")
    assert "![" not in text()


def test_a_name_from_outside_is_neither_html_nor_markdown():
    shown = text()
    assert "<script>" not in shown and "*cucullatus*" not in shown
    assert "&#60;script&#62;" in shown
