"""New words: a few rows more in the tables of the text encoders, which learn alone (Gal et al. 2023).

They are spelt `<key>`, `<key>_1`, … as diffusers' `load_textual_inversion` names the vectors of one file. A file is
`learned_embeds.safetensors`: `{"<key>": (n, width)}` for one text encoder; `clip_l` and `clip_g` for two. Its header
has the name that the words stand for, so that prompts go on speaking of the species by its name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Subject
from pipeline.methods.params import Tokens
from pipeline.families import family
from pipeline.families.model_components import ModelComponents
from pipeline.families.model_folder import read_json
from pipeline.methods.base_compatibility import ADVICE, read
from pipeline.methods.trainable import write_tensors

FILE = "learned_embeds.safetensors"
ADAPTER = "words"
LEARNT = f"trainable_tokens_delta.{ADAPTER}"  # how the rows that learn end in a state dict
OF_TWO = ("clip_l", "clip_g")  # the names of both encoders' vectors, which other programs know
WINDOW = 77  # of CLIP, if its config does not say
MARGIN = 2  # every prompt has a start and an end


def trigger(subject: Subject) -> str:
    """The first of the words, which stands for all of them in diffusers' pipelines too."""
    return f"<{subject.key}>"


def check(section: Tokens, where: str, family_name: str, base: Path) -> None:
    """ParamsError when there are more vectors than a text encoder of the base reads; `where` names the section."""
    encoders = family(family_name).TRAINED_TEXT_ENCODERS
    window = min(read_json(base, f"{name}/config.json").get("max_position_embeddings", WINDOW) for name in encoders)
    if section.vectors > window - MARGIN:
        raise ParamsError(
            f"{where}.vectors is {section.vectors}, but a text encoder of this base reads {window - MARGIN} tokens; "
            "take a few"
        )


def teach(parts: ModelComponents, subject: Subject, section: Tokens, where: str) -> ModelComponents:
    """The parts with words for the species' name, which mean as yet what `initial` means; `where` names the section.

    Tokenizers and text encoders are changed.

    Raises
    ------
    ParamsError
        When there are no words in `initial`, or as `check`.
    InputError
        When the base knows such a word already.
    """
    check(section, where, parts.family, parts.folder)
    text = fill_prompt(section.initial, name=subject.name, class_noun=subject.class_noun)
    known = [tokenizer(text, add_special_tokens=False, verbose=False).input_ids for tokenizer in parts.tokenizers]
    if not all(known):
        raise ParamsError(f"{where}.initial is {section.initial!r}, which has no word to start from; name the class")
    both = zip(parts.text_encoders, known, strict=True)
    rows = [initial_rows(encoder, ids, section.vectors) for encoder, ids in both]
    return _with_words(parts, subject.name, trigger(subject), rows)


def initial_rows(encoder: nn.Module, ids: Sequence[int], n: int) -> torch.Tensor:
    """(n, width): the tokens' vectors in their order; too many are averaged in runs, too few end in their mean."""
    table = encoder.get_input_embeddings().weight.detach()
    known = table[torch.tensor(ids, device=table.device)].float()
    if len(known) >= n:
        return torch.stack([run.mean(dim=0) for run in known.tensor_split(n)])
    return torch.cat([known, known.mean(dim=0).expand(n - len(known), -1)])


def free(parts: ModelComponents) -> dict[str, nn.Module]:
    """Let the words' rows learn, in full precision; returns the text encoders by the names of their folders."""
    from peft import TrainableTokensConfig, inject_adapter_in_model

    modules = dict(zip(family(parts.family).TRAINED_TEXT_ENCODERS, parts.text_encoders, strict=True))
    for module, tokenizer in zip(modules.values(), parts.tokenizers, strict=True):
        learning = [weight for weight in module.parameters() if weight.requires_grad]
        config = TrainableTokensConfig(token_indices=_ids(parts, tokenizer), target_modules=["token_embedding"])
        with warnings.catch_warnings():  # peft warns of a second adapter, which is meant
            warnings.simplefilter("ignore", UserWarning)
            inject_adapter_in_model(config, module, adapter_name=ADAPTER)
        module.eval()
        for weight in learning:  # of other adapters, which peft has just frozen
            weight.requires_grad_(True)
        for name, weight in module.named_parameters():
            if name.endswith(LEARNT):
                weight.data = weight.data.float()
    return modules


def save(
    modules: Mapping[str, nn.Module], parts: ModelComponents, folder: Path, dtype: torch.dtype, stamp: Mapping
) -> None:
    """One file; the stamp, the name and its trigger go into its header."""
    encoders = family(parts.family).TRAINED_TEXT_ENCODERS
    ((name, words),) = parts.words.items()
    first = words.partition(" ")[0]
    rows = [next(v for key, v in modules[each].state_dict().items() if key.endswith(LEARNT)) for each in encoders]
    tensors = {key: row.to(dtype) for key, row in zip(_keys(first, len(encoders)), rows, strict=True)}
    write_tensors(folder / FILE, tensors, {**stamp, "name": name, "trigger": first})


def words_in(folder: Path) -> dict[str, str]:
    """What a checkpoint's words stand for and how they are written, as `Parts.words`; empty without a file of words.

    Raises
    ------
    InputError
        When the file is damaged, or does not say what its words stand for.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    header, tensors = _read(path)
    return {header["name"]: spelling(header["trigger"], max(map(len, tensors.values()), default=0))}


def restore(parts: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a checkpoint's words; tokenizers and text encoders are changed.

    Raises
    ------
    InputError
        When the file is not there or damaged, or its words are another family's or of another width.
    """
    path = folder / FILE
    header, tensors = _read(path)
    keys = _keys(header["trigger"], len(parts.text_encoders))
    if set(keys) != tensors.keys():
        plural = "s" if len(tensors) > 1 else ""
        raise InputError(
            f"{path} has words for {len(tensors)} text encoder{plural}, but a base of the family {parts.family!r} has "
            f"{len(keys)}; {ADVICE}"
        )
    rows = [tensors[key] for key in keys]
    for row, encoder in zip(rows, parts.text_encoders, strict=True):
        width = encoder.get_input_embeddings().embedding_dim
        if row.shape[1] != width:
            raise InputError(f"{path} has words of width {row.shape[1]}, but this base's have {width}; {ADVICE}")
    return _with_words(parts, header["name"], header["trigger"], rows)


def learnt(modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """The names of the words' rows among a Trainable's parameters."""
    return tuple(
        f"{folder}.{name}"
        for folder, module in modules.items()
        for name, _ in module.named_parameters()
        if name.endswith(LEARNT)
    )


def spelling(first: str, n: int) -> str:
    """`n` words, of which `first` is the first: `<dodo> <dodo>_1 …`."""
    return " ".join([first, *(f"{first}_{number}" for number in range(1, n))])


def _read(path: Path) -> tuple[Mapping[str, str], Mapping[str, torch.Tensor]]:
    """Header and tensors of a file of words."""
    header, tensors = read(path, tensors=True)
    if not {"name", "trigger"} <= header.keys():
        raise InputError(f"{path} does not say what its words stand for, so it is no checkpoint of this project")
    return header, tensors


def _keys(word: str, n_encoders: int) -> tuple[str, ...]:
    return (word,) if n_encoders == 1 else OF_TWO


def _with_words(parts: ModelComponents, name: str, first: str, rows: Sequence[torch.Tensor]) -> ModelComponents:
    """New rows of every table, and what they are called."""
    spelt = spelling(first, len(rows[0]))
    words = spelt.split()
    for encoder, tokenizer, vectors in zip(parts.text_encoders, parts.tokenizers, rows, strict=True):
        if tokenizer.add_tokens(words) != len(words):
            raise InputError(f"{str(parts.folder)!r} knows the word {first!r} already; give the species another key")
        _grow(encoder, len(tokenizer))
        _end_at(encoder, tokenizer.eos_token_id)
        table = encoder.get_input_embeddings().weight
        table.data[tokenizer.convert_tokens_to_ids(words)] = vectors.to(table)
    return replace(parts, words={name: spelt})


def _end_at(encoder: nn.Module, end: int) -> None:
    """The sentence's vector is read at this token.

    Old configs say 2, with which transformers reads it at the highest id: once there are new words, at the last of
    them instead of at the end.
    """
    encoder.config.eos_token_id = end
    for module in encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = end


def _grow(encoder: nn.Module, n_rows: int) -> None:
    """Some tables have spare rows; they are not made shorter."""
    known = encoder.get_input_embeddings().num_embeddings
    with torch.random.fork_rng(devices=[]):  # transformers draws the new rows, which are then overwritten
        encoder.resize_token_embeddings(max(known, n_rows), mean_resizing=False)


def _ids(parts: ModelComponents, tokenizer) -> list[int]:
    return tokenizer.convert_tokens_to_ids(next(iter(parts.words.values())).split())
