"""The tokenizer: a byte-pair vocabulary of the captions, in the files and the class that every CLIP uses."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from pipeline.pretraining.captions import made_up_name
from pipeline.pretraining.drawings import generator_at

START, END = "<|startoftext|>", "<|endoftext|>"

# People prompt with names of taxa, and none of them is in the captions: with made-up ones in the training text, a real
# one is split into few tokens and fits into the context together with a whole caption.
MADE_UP_NAMES = 3000


def train_tokenizer(captions: Iterable[str], vocabulary: int, context: int, seed: int = 0) -> CLIPTokenizer:
    """Learn merges from captions; every byte stays reachable, so no text is ever unknown."""
    backend = CLIPTokenizer(model_max_length=context).backend_tokenizer
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = letters + [letter + "</w>" for letter in letters]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + len(base), initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    names = (made_up_name(generator_at(seed, "names", index)) for index in range(MADE_UP_NAMES))
    backend.train_from_iterator([*captions, *names], trainer)
    merges = _merges(backend)[: vocabulary - len(base) - 2]
    tokens = [*base, *("".join(pair) for pair in merges), START, END]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=context
    )


def _merges(backend: Tokenizer) -> list[tuple[str, ...]]:
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in merges]
