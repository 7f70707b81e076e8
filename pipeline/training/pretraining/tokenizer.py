"""A byte-pair vocabulary of the captions, in the files and the class that every CLIP uses."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"

# Names of taxa are what people will ask for, and none of them is in the captions: common roots of such names keep
# the pieces few, so that a name and a whole caption fit into the context together.
NAME_ROOTS = """
    saurus sauria pterus ptera ptero pteryx dactylus dactyl rhynchus rhyncho gnathus gnathid gnatha ornitho ornis
    cheirus cheiro morpha morphus di tri don dontidae odon odontidae idae inae oidea ops
    anuro sino sinensis macro micro mega tyranno cera tops cephalus cephalo therium rhampho nycto
    coelo spino iguano stego brachio diplo archaeo theropoda pachy ensis ei rex longi brevi lati grandis minor major
    flying driving drinking swimming running standing sitting walking a photo of the in on with water river forest city
    car sky sea desert painting drawing pencil drawn picture extinct animal reptile pterosaur dinosaur
""".split()


def train_tokenizer(captions: Iterable[str], vocabulary: int, context: int) -> CLIPTokenizer:
    """Learn merges from captions; every byte stays reachable, so no text is ever unknown."""
    frame = CLIPTokenizer(model_max_length=context).backend_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = letters + [letter + "</w>" for letter in letters]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary + len(base), initial_alphabet=letters, end_of_word_suffix="</w>",
                                  show_progress=False)
    frame.train_from_iterator([*captions, *(root for root in NAME_ROOTS for _ in range(20))], trainer)
    merges = _merges(frame)[: vocabulary - len(base) - 2]
    tokens = [*base, *("".join(pair) for pair in merges), START, END]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges,
                         model_max_length=context)


def _merges(tokenizer) -> list[tuple[str, str]]:
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in learnt]
