"""A byte-pair vocabulary of the captions, in the files and the class that every CLIP uses."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTokenizer

from pipeline.pretraining.drawings import generator_at, made_up_name

START, END = "<|startoftext|>", "<|endoftext|>"

# Names of taxa are what people will ask for, and none of them is in the captions: with made-up ones among the
# training text, a real one falls into few pieces and fits into the context together with a whole caption.
MADE_UP_NAMES = 3000


def train_tokenizer(captions: Iterable[str], vocabulary: int, context: int, seed: int = 0) -> CLIPTokenizer:
    """Learn merges from captions; every byte stays reachable, so no text is ever unknown."""
    frame = CLIPTokenizer(model_max_length=context).backend_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = letters + [letter + "</w>" for letter in letters]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + len(base), initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    names = (made_up_name(generator_at(seed, "names", index)) for index in range(MADE_UP_NAMES))
    frame.train_from_iterator([*captions, *names], trainer)
    merges = _merges(frame)[: vocabulary - len(base) - 2]
    tokens = [*base, *("".join(pair) for pair in merges), START, END]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=context
    )


def _merges(tokenizer) -> list[tuple[str, str]]:
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in learnt]
