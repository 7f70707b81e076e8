"""Token embeddings: new rows in the embedding tables of the text encoders, which alone are trained (Gal et al. 2023).

The placeholder tokens are spelt `<key>`, `<key>_1`, … as diffusers' `load_textual_inversion` names the vectors of one
file. A file is `learned_embeds.safetensors`: `{"<key>": (n, width)}` for one text encoder, `clip_l` and `clip_g` for
the two of SDXL. Its header has the name that the tokens stand for, so that prompts go on using the species' name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Subject
from pipeline.core.weight_files import read_json
from pipeline.families.family import Family
from pipeline.families.model_components import ModelComponents
from pipeline.methods.base_compatibility import ADVICE, read
from pipeline.methods.params import PlaceholderTokenParams
from pipeline.methods.placeholder_tokens import FILE, spelling, trigger
from pipeline.methods.tensor_files import write_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "tokens"  # peft's name of it
TRAINED_ROWS = f"trainable_tokens_delta.{ADAPTER}"  # how the trained rows' names end in a state dict
CONTEXT_LENGTH = 77  # of CLIP, if its config does not say
MARGIN = 2  # every prompt has a start and an end token


def check(params: PlaceholderTokenParams, where: str, family: Family, base: Path) -> None:
    """ParamsError when there are more vectors than a text encoder of the base reads; `where` names the section."""
    configs = [read_json(base, f"{name}/config.json") for name in family.text_encoders]
    window = min(config.get("max_position_embeddings", CONTEXT_LENGTH) for config in configs)
    if params.vectors > window - MARGIN:
        raise ParamsError(
            f"{where}.vectors is {params.vectors}, but a text encoder of this base reads {window - MARGIN} tokens; "
            "take a few"
        )


def add_tokens(
    components: ModelComponents, subject: Subject, params: PlaceholderTokenParams, where: str
) -> ModelComponents:
    """The components with placeholder tokens for the species' name, whose embeddings start as those of `initial`.

    Tokenizers and text encoders are changed; `where` names the section in messages.

    Raises
    ------
    ParamsError
        When `initial` has no token, or as `check`.
    InputError
        When the base has such a token already.
    """
    check(params, where, components.family, components.folder)
    text = fill_prompt(params.initial, name=subject.name, class_noun=subject.class_noun)
    known = [tokenizer(text, add_special_tokens=False, verbose=False).input_ids for tokenizer in components.tokenizers]
    if not all(known):
        raise ParamsError(f"{where}.initial is {params.initial!r}, which has no word to start from; name the class")
    both = zip(components.text_encoders, known, strict=True)
    rows = [initial_rows(encoder, ids, params.vectors) for encoder, ids in both]
    return _with_tokens(components, subject.name, trigger(subject), rows)


def initial_rows(encoder: PreTrainedModel, ids: Sequence[int], n: int) -> torch.Tensor:
    """(n, width): the tokens' vectors in their order; too many are averaged in runs, too few end in their mean."""
    table: torch.Tensor = encoder.get_input_embeddings().weight.detach()
    known = table[torch.tensor(ids, device=table.device)].float()
    if len(known) >= n:
        return torch.stack([run.mean(dim=0) for run in known.tensor_split(n)])
    return torch.cat([known, known.mean(dim=0).expand(n - len(known), -1)])


def make_trainable(components: ModelComponents) -> dict[str, nn.Module]:
    """Make the new rows trainable, in full precision; returns the text encoders by the names of their folders."""
    from peft import TrainableTokensConfig, inject_adapter_in_model

    modules = dict(zip(components.family.text_encoders, components.text_encoders, strict=True))
    for module, tokenizer in zip(modules.values(), components.tokenizers, strict=True):
        trainable = [weight for weight in module.parameters() if weight.requires_grad]
        config = TrainableTokensConfig(token_indices=_ids(components, tokenizer), target_modules=["token_embedding"])
        with warnings.catch_warnings():  # peft warns of a second adapter, which is intended
            warnings.simplefilter("ignore", UserWarning)
            inject_adapter_in_model(config, module, adapter_name=ADAPTER)
        module.eval()
        for weight in trainable:  # of other adapters, which peft has just frozen
            weight.requires_grad_(True)
        for name, weight in module.named_parameters():
            if name.endswith(TRAINED_ROWS):
                weight.data = weight.data.float()
    return modules


def save(
    modules: Mapping[str, nn.Module],
    components: ModelComponents,
    folder: Path,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> None:
    """One file; the metadata, the name and its trigger go into its header."""
    encoders = components.family.text_encoders
    ((name, tokens),) = components.placeholder_tokens.items()
    first = tokens.partition(" ")[0]
    rows = [next(v for key, v in modules[each].state_dict().items() if key.endswith(TRAINED_ROWS)) for each in encoders]
    tensors = {key: row.to(dtype) for key, row in zip(_keys(first, components.family), rows, strict=True)}
    write_tensors(folder / FILE, tensors, {**metadata, "name": name, "trigger": first})


def tokens_in(folder: Path) -> dict[str, str]:
    """The placeholder tokens of a snapshot, as `ModelComponents.placeholder_tokens`; empty without a file of them.

    Raises
    ------
    InputError
        When the file is damaged, or does not say what its tokens stand for.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    header, tensors = _read(path)
    return {header["name"]: spelling(header["trigger"], max(map(len, tensors.values()), default=0))}


def restore(components: ModelComponents, folder: Path) -> ModelComponents:
    """The base with a snapshot's tokens; tokenizers and text encoders are changed.

    Raises
    ------
    InputError
        When the file is not there or damaged, or its tokens are another family's or of another width.
    """
    path = folder / FILE
    header, tensors = _read(path)
    keys = _keys(header["trigger"], components.family)
    if set(keys) != tensors.keys():
        plural = "s" if len(tensors) > 1 else ""
        raise InputError(
            f"{path} has tokens for {len(tensors)} text encoder{plural}, but a base of the family "
            f"{components.family.name!r} has {len(keys)}; {ADVICE}"
        )
    rows = [tensors[key] for key in keys]
    for row, encoder in zip(rows, components.text_encoders, strict=True):
        width = encoder.get_input_embeddings().embedding_dim
        if row.shape[1] != width:
            raise InputError(f"{path} has tokens of width {row.shape[1]}, but this base's have {width}; {ADVICE}")
    return _with_tokens(components, header["name"], header["trigger"], rows)


def trained_names(modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """The names of the new rows among a Trainable's parameters."""
    return tuple(
        f"{folder}.{name}"
        for folder, module in modules.items()
        for name, _ in module.named_parameters()
        if name.endswith(TRAINED_ROWS)
    )


def _read(path: Path) -> tuple[Mapping[str, str], Mapping[str, torch.Tensor]]:
    """Header and tensors of a file of token embeddings."""
    header, tensors = read(path, tensors=True)
    if not {"name", "trigger"} <= header.keys():
        raise InputError(f"{path} does not say what its tokens stand for, so it is no checkpoint of this project")
    return header, tensors


def _keys(token: str, family: Family) -> tuple[str, ...]:
    """Names of the vectors in a file, one for each text encoder."""
    return family.embedding_keys or (token,)


def _with_tokens(components: ModelComponents, name: str, first: str, rows: Sequence[torch.Tensor]) -> ModelComponents:
    """New rows of every table, and what they are called."""
    spelt = spelling(first, len(rows[0]))
    tokens = spelt.split()
    for encoder, tokenizer, vectors in zip(components.text_encoders, components.tokenizers, rows, strict=True):
        if tokenizer.add_tokens(tokens) != len(tokens):
            raise InputError(
                f"{str(components.folder)!r} has the token {first!r} already; give the species another key"
            )
        _resize_embeddings(encoder, len(tokenizer))
        _set_end_token(encoder, tokenizer.eos_token_id)
        table = encoder.get_input_embeddings().weight
        table.data[tokenizer.convert_tokens_to_ids(tokens)] = vectors.to(table)
    return replace(components, placeholder_tokens={name: spelt})


def _set_end_token(encoder: PreTrainedModel, end: int) -> None:
    """Pool the sentence at this token.

    Old configs say 2, with which transformers pools at the highest id: with new tokens at the last of them instead of
    at the end.
    """
    encoder.config.eos_token_id = end
    for module in encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = end


def _resize_embeddings(encoder: PreTrainedModel, n_rows: int) -> None:
    """Make the table at least `n_rows` long; some tables have spare rows, which stay."""
    known = encoder.get_input_embeddings().num_embeddings
    with torch.random.fork_rng(devices=[]):  # transformers draws the new rows, which are then overwritten
        encoder.resize_token_embeddings(max(known, n_rows), mean_resizing=False)


def _ids(components: ModelComponents, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer.convert_tokens_to_ids(next(iter(components.placeholder_tokens.values())).split())
    return ids
