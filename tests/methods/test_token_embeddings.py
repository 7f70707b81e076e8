"""Placeholder tokens: where they start, what is trained, how they are saved, and that diffusers draws the same."""

import json
from shutil import copytree

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.families.model_components import counter_of_cut, spell, tokenise, tokens_cut
from pipeline.methods import method, placeholder_tokens, token_embeddings
from tests.training.world import train_params

NAME = "Raphus cucullatus"
SUBJECT = Subject("dodo", NAME, "big bird")
METADATA = {"lineage_id": "abc"}
SIZE = {"height": 16, "width": 16, "num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "np"}
FAMILIES, METHODS = ["sd", "sdxl"], ["textual_inversion", "pivotal"]


def _train(kind="textual_inversion", vectors=3, initial="{class_noun}", text=False):
    lora = {"rank": 2, "alpha": 4, "train_text_encoder": text}
    return train_params(method=kind, **{kind: {"vectors": vectors, "initial": initial}}, lora=lora)


@pytest.fixture
def base(request, name):
    return request.getfixturevalue(f"{name}_base")


def _trained(base, name, kind="textual_inversion", amount=0.05, **changes):
    trainable = method(kind).attach(family(name).load(base), _train(kind, **changes), SUBJECT, 1, torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainable.parameters.values():
            weight.add_(torch.randn(weight.shape, generator=generator) * amount)
    return trainable


@torch.no_grad()
def _states(components, prompt):
    return components.family.encode_prompt(components, [prompt]).states


@pytest.mark.parametrize("name", ["sd"])
@pytest.mark.parametrize(
    ("vectors", "initial", "expected"),
    [
        (2, "big", ["bi", "g"]),  # one token a letter: three of them in two runs
        (1, "big", ["big"]),
        (3, "big", ["b", "i", "g"]),
        (5, "big", ["b", "i", "g", "big", "big"]),
    ],
)
def test_tokens_start_from_the_class(base, name, vectors, initial, expected):
    components = family(name).load(base)
    table = components.text_encoders[0].get_input_embeddings().weight.clone()
    ids = dict(zip("big", components.tokenizers[0](initial, add_special_tokens=False).input_ids, strict=True))
    trainable = _trained(base, name, amount=0, vectors=vectors, initial=initial)
    (row,) = trainable.parameters.values()
    wanted = torch.stack([table[[ids[letter] for letter in run]].mean(dim=0) for run in expected])
    torch.testing.assert_close(row.detach(), wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_only_the_tokens_are_trained_and_the_rest_of_the_table_stays_bit_for_bit(base, name):
    before = [encoder.get_input_embeddings().weight.clone() for encoder in family(name).load(base).text_encoders]
    trainable = _trained(base, name, amount=0)
    assert [tuple(weight.shape) for weight in trainable.parameters.values()] == [(3, 32)] * len(before)
    optimiser = torch.optim.AdamW([{**group, "lr": 1.0} for group in _plain(trainable.optimiser_groups(0.5))])
    first = [weight.detach().clone() for weight in trainable.parameters.values()]
    family(name).encode_prompt(trainable.components, [NAME]).states.square().sum().backward()
    optimiser.step()
    for encoder, table in zip(trainable.components.text_encoders, before, strict=True):
        kept = encoder.state_dict()
        (rows,) = [value for key, value in kept.items() if key.endswith("token_embedding.base_layer.weight")]
        assert torch.equal(rows[: len(table)], table)
    for weight, start in zip(trainable.parameters.values(), first, strict=True):
        assert (weight != start).all()


def _plain(groups):
    return [{key: value for key, value in group.items() if key != "lr_factor"} for group in groups]


@pytest.mark.parametrize("name", ["sd"])
def test_tokens_have_their_own_learning_rate_and_no_weight_decay(base, name):
    train = _train("pivotal")
    adapters, tokens = _trained(base, name, "pivotal").optimiser_groups(0.01)
    assert tokens["lr_factor"] * train.learning_rate == pytest.approx(train.pivotal.learning_rate)
    assert (tokens["weight_decay"], adapters["weight_decay"], adapters["lr_factor"]) == (0.0, 0.01, 1.0)
    assert [tuple(weight.shape) for weight in tokens["params"]] == [(3, 32)]


@pytest.mark.parametrize("name", ["sd"])
def test_frozen_weights_may_be_in_half_precision_and_tokens_never(base, name):
    for kind in METHODS:
        trainable = method(kind).attach(family(name).load(base), _train(kind), SUBJECT, 1, torch.bfloat16)
        assert {weight.dtype for weight in trainable.parameters.values()} == {torch.float32}
        assert trainable.components.unet.conv_in.weight.dtype == torch.bfloat16
        assert _states(trainable.components, NAME).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["sd"])
def test_initial_tokens_do_not_use_the_global_random_state(base, name):
    before = torch.get_rng_state()
    _trained(base, name, "pivotal", amount=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["sd"])
@pytest.mark.parametrize(
    ("prompt", "spelt"),
    [
        (NAME, "<dodo> <dodo>_1 <dodo>_2"),
        ("a raphus  CUCULLATUS, at sea", "a <dodo> <dodo>_1 <dodo>_2, at sea"),
        ("a <dodo> at sea", "a <dodo> <dodo>_1 <dodo>_2 at sea"),
        ("<dodo> <dodo>_1 <dodo>_2", "<dodo> <dodo>_1 <dodo>_2"),
        ("Raphus cucullatuses", "Raphus cucullatuses"),
        ("<dodo>_1 at sea", "<dodo>_1 at sea"),
        ("raphus cucullatus's, Raphus cucullatus-like", "{0}'s, {0}-like".format("<dodo> <dodo>_1 <dodo>_2")),
        ("dodo", "dodo"),
    ],
)
def test_the_name_in_a_prompt_is_replaced_by_the_tokens(base, name, prompt, spelt):
    components = _trained(base, name).components
    assert spell(prompt, components.placeholder_tokens) == spelt
    ids = components.tokenizers[0].convert_tokens_to_ids(["<dodo>", "<dodo>_1", "<dodo>_2"])
    assert (set(ids) <= set(tokenise(components, [prompt])[0][0].tolist())) == ("<dodo> " in spelt)


@pytest.mark.parametrize("name", ["sd"])
def test_tokens_count_in_the_context_of_the_encoder(base, name):
    components = family(name).load(base)
    assert tokens_cut(components, f"{NAME} ab") == 8  # 16 letters, ab, start and end; 12 are kept
    assert tokens_cut(_trained(base, name).components, f"{NAME} ab") == 0
    assert tokens_cut(_trained(base, name, vectors=10).components, f"{NAME} ab") == 2


def _with_old_config(base, folder):
    """A copy of the base whose text encoders' configs say 2, as those of Stable Diffusion 1.x, 2.x and XL do."""
    copytree(base, folder)
    for path in folder.glob("text_encoder*/config.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 2}))
    return folder


@torch.no_grad()
def _pooled(components, prompt):
    return components.family.encode_prompt(components, [prompt]).pooled


@pytest.mark.parametrize("kind", METHODS)
def test_the_pooled_vector_is_that_of_the_end_token_whatever_old_configs_say(sdxl_base, kind, tmp_path):
    old = _with_old_config(sdxl_base, tmp_path / "old")
    assert torch.equal(_pooled(family("sdxl").load(old), "a bird"), _pooled(family("sdxl").load(sdxl_base), "a bird"))
    trainable, wanted = _trained(old, "sdxl", kind), _trained(sdxl_base, "sdxl", kind)
    assert torch.equal(_pooled(trainable.components, f"{NAME} at sea"), _pooled(wanted.components, f"{NAME} at sea"))
    assert not torch.equal(
        _pooled(trainable.components, f"{NAME} at sea"), _pooled(trainable.components, f"{NAME} at bay")
    )
    method(kind).save(trainable, tmp_path, torch.float32, METADATA)
    back = method(kind).restore(family("sdxl").load(old), tmp_path)
    torch.testing.assert_close(_pooled(back, f"{NAME} at sea"), _pooled(wanted.components, f"{NAME} at sea"))
    assert [encoder.config.eos_token_id for encoder in back.text_encoders] == [back.tokenizers[0].eos_token_id] * 2


def test_plain_diffusers_pools_at_the_last_placeholder_token_where_the_config_is_old(sdxl_base, tmp_path):
    """What docs/training.md says of other programs: what follows the tokens does not reach the pooled vector."""
    old = _with_old_config(sdxl_base, tmp_path / "old")
    method("textual_inversion").save(_trained(sdxl_base, "sdxl"), tmp_path, torch.float32, METADATA)
    for base, differ in ((sdxl_base, True), (old, False)):
        pipeline = DiffusionPipeline.from_pretrained(base, local_files_only=True)
        _load_tokens(pipeline, tmp_path / placeholder_tokens.FILE)
        sea, bay = (pipeline.encode_prompt(f"<dodo> {end}", device="cpu") for end in ("at sea", "at bay"))
        assert not torch.equal(sea[0], bay[0])
        assert torch.equal(sea[2], bay[2]) is not differ


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", ["sd"])
def test_tokens_are_counted_from_a_checkpoint_without_loading_weights(base, name, kind, tmp_path):
    trainable = _trained(base, name, kind, vectors=10)
    method(kind).save(trainable, tmp_path, torch.float32, METADATA)
    assert (
        token_embeddings.tokens_in(tmp_path) == trainable.components.placeholder_tokens
        and token_embeddings.tokens_in(tmp_path / "none") == {}
    )
    for prompt in (f"{NAME} ab", "<dodo>", "abcdefghijkl"):
        assert counter_of_cut(base, token_embeddings.tokens_in(tmp_path))(prompt) == tokens_cut(
            trainable.components, prompt
        )


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_is_restored_as_it_was(base, name, kind, tmp_path):
    trainable = _trained(base, name, kind)
    method(kind).save(trainable, tmp_path, torch.float32, METADATA)
    back = method(kind).restore(family(name).load(base), tmp_path)
    assert back.placeholder_tokens == trainable.components.placeholder_tokens
    torch.testing.assert_close(_states(back, NAME), _states(trainable.components, NAME))
    assert torch.equal(_states(back, "a bird"), _states(family(name).load(base), "a bird"))
    with safe_open(tmp_path / placeholder_tokens.FILE, "pt") as opened:
        assert opened.metadata() == {"format": "pt", **METADATA, "name": NAME, "trigger": "<dodo>"}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_plain_diffusers_draws_the_same_with_the_trigger(base, name, kind, tmp_path):
    trainable = _trained(base, name, kind, amount=0.3)
    method(kind).save(trainable, tmp_path, torch.float32, METADATA)
    pipeline = DiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    _load_tokens(pipeline, tmp_path / placeholder_tokens.FILE)
    if kind == "pivotal":
        pipeline.load_lora_weights(tmp_path, weight_name="pytorch_lora_weights.safetensors", local_files_only=True)
    ours = _pipeline(method(kind).restore(family(name).load(base), tmp_path), base)
    theirs = pipeline("<dodo> at", generator=torch.Generator().manual_seed(1), **SIZE).images
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), atol=1e-5, rtol=1e-4)
    other = pipeline("bird at", generator=torch.Generator().manual_seed(1), **SIZE).images
    assert abs(theirs - other).max() > 0.01


def _load_tokens(pipeline, file):
    state = load_file(file)
    if not hasattr(pipeline, "text_encoder_2"):
        pipeline.load_textual_inversion(file, token="<dodo>")
    for key, end in (("clip_l", ""), ("clip_g", "_2")) if len(state) == 2 else ():
        encoder, tokenizer = getattr(pipeline, f"text_encoder{end}"), getattr(pipeline, f"tokenizer{end}")
        pipeline.load_textual_inversion(state[key], token="<dodo>", text_encoder=encoder, tokenizer=tokenizer)


def _pipeline(components, base):
    """Our components in diffusers' pipeline, the prompt encoded by us."""
    made = components.family.pipeline(components, DDIMScheduler.from_pretrained(base, subfolder="scheduler"))
    prompted, empty = (components.family.encode_prompt(components, [text]) for text in (f"{NAME} at", ""))
    if made.config.get("force_zeros_for_empty_prompt"):
        empty = type(empty)(torch.zeros_like(empty.states), torch.zeros_like(empty.pooled))
    embeds = {"prompt_embeds": prompted.states, "negative_prompt_embeds": empty.states}
    if prompted.pooled is not None:
        embeds |= {"pooled_prompt_embeds": prompted.pooled, "negative_pooled_prompt_embeds": empty.pooled}
    return made(generator=torch.Generator().manual_seed(1), **embeds, **SIZE).images


@pytest.mark.parametrize("name", ["sd"])
def test_tokens_are_trained_through_the_adapters_of_the_text_encoder_too(base, name):
    trainable = _trained(base, name, "pivotal", text=True)
    states = family(name).encode_prompt(trainable.components, [NAME]).states
    states.square().sum().backward()
    reached = {key for key, weight in trainable.parameters.items() if weight.grad is not None and weight.grad.any()}
    assert any("lora_B" in key and key.startswith("text_encoder.") for key in reached)
    assert any("trainable_tokens" in key for key in reached)
    assert set(trainable.parameters) == {name for group in trainable.groups for name in group.names}


def test_the_trigger_is_what_prompts_of_other_programs_need():
    assert method("textual_inversion").trigger(SUBJECT) == method("pivotal").trigger(SUBJECT) == "<dodo>"
    assert method("lora").trigger(SUBJECT) == method("dreambooth").trigger(SUBJECT) == NAME


@pytest.mark.parametrize("name", ["sd"])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"initial": " "}, "train.textual_inversion.initial is ' ', which has no word to start from; name the class"),
        ({"vectors": 11}, "vectors is 11, but a text encoder of this base reads 10 tokens; take a few"),
    ],
)
def test_tokens_that_cannot_be_made_are_refused(base, name, changes, sentence):
    with pytest.raises(ParamsError, match=sentence):
        _trained(base, name, **changes)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", FAMILIES)
def test_more_vectors_than_the_context_are_refused_before_anything_is_loaded(base, name, kind):
    method(kind).check(family(name), base, _train(kind, vectors=10))
    with pytest.raises(ParamsError, match=f"train.{kind}.vectors is 11, but"):
        method(kind).check(family(name), base, _train(kind, vectors=11))


@pytest.mark.parametrize("name", ["sd"])
def test_a_token_that_the_base_has_is_refused(base, name):
    components = family(name).load(base)
    components.tokenizers[0].add_tokens(["<dodo>_1"])
    with pytest.raises(InputError, match="has the token '<dodo>' already; give the species another key"):
        method("textual_inversion").attach(components, _train(), SUBJECT, 1, torch.float32)


@pytest.mark.parametrize(("name", "other"), [("sd", "sdxl"), ("sdxl", "sd")])
def test_tokens_of_another_family_are_refused(base, name, other, tmp_path, request):
    for kind in METHODS:
        method(kind).save(_trained(base, name, kind), tmp_path, torch.float32, METADATA)
        wrong = family(other).load(request.getfixturevalue(f"{other}_base"))
        with pytest.raises(InputError, match=f"tokens for .* text encoder.*family '{other}' has .*trained on"):
            method(kind).restore(wrong, tmp_path)


@pytest.mark.parametrize("name", ["sd"])
def test_tokens_of_another_width_or_without_metadata_or_damaged_are_refused(base, name, tmp_path):
    path, components = tmp_path / placeholder_tokens.FILE, family(name).load(base)
    with pytest.raises(InputError, match="learned_embeds.safetensors is missing or damaged"):
        token_embeddings.restore(components, tmp_path)
    save_file({"<dodo>": torch.zeros(2, 16)}, path, {"name": NAME, "trigger": "<dodo>"})
    with pytest.raises(InputError, match="tokens of width 16, but this base's have 32"):
        token_embeddings.restore(components, tmp_path)
    save_file({"<dodo>": torch.zeros(2, 32)}, path)
    with pytest.raises(InputError, match="does not say what its tokens stand for"):
        token_embeddings.restore(components, tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="is missing or damaged"):
        method("pivotal").restore(components, tmp_path)
