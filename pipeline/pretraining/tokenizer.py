"""The tokenizer: a byte-pair vocabulary of the captions, in the files and the class that every CLIP uses."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from pipeline.pretraining.captions import made_up_name
from pipeline.pretraining.drawings import generator_at

START, END, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"
PRIVATE_USE = 0xE000  # code points without a meaning

# People prompt with names of taxa, and none of them is in the captions: with made-up ones in the training text, a real
# one is split into few tokens and fits into the context together with a whole caption.
MADE_UP_NAMES = 3000


def train_tokenizer(captions: Iterable[str], vocabulary: int, context: int, seed: int = 0) -> CLIPTokenizer:
    """Learn merges from captions; every byte stays reachable, so no text is ever unknown."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = letters + [letter + END_OF_WORD for letter in letters]
    names = (made_up_name(generator_at(seed, "names", index)) for index in range(MADE_UP_NAMES))
    merges = train_merges([*captions, *names], vocabulary - len(base) - 2)
    tokens = [*base, *("".join(pair) for pair in merges), START, END]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=merges, model_max_length=context
    )


def train_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The `count` first byte-pair merges, the same each time; of equally frequent pairs those of earlier letters.

    The trainer's own `end_of_word_suffix` numbers the letters that end words in the order of a randomly seeded hash
    table, and breaks ties by these numbers. So a word's last letter stands as a letter of its own here.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    last_letters = {letter: chr(PRIVATE_USE + index) for index, letter in enumerate(letters)}
    clip = CLIPTokenizer().backend_tokenizer

    def marked_words(text: str) -> str:
        words = clip.pre_tokenizer.pre_tokenize_str(clip.normalizer.normalize_str(text))
        return " ".join(word[:-1] + last_letters[word[-1]] for word, _ in words)

    alphabet = [*letters, *last_letters.values()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=len(alphabet) + count, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(map(marked_words, texts), trainer)
    unmarked = str.maketrans({mark: letter + END_OF_WORD for letter, mark in last_letters.items()})
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [(first.translate(unmarked), second.translate(unmarked)) for first, second in merges[:count]]
