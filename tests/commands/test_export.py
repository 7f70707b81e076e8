"""`paleo export`: other programs' files draw the same pictures, say where they come from, and replace nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.commands.export import export
from pipeline.core.errors import InputError
from pipeline.families import family
from pipeline.io.files import atomic_write
from tests import tiny_models, trained_models

PIPELINES = {"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}
WITH_TEXT = {"train_text_encoder": True}


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {
        "sd": tiny_models.write_sd(folder / "sd"),
        "sd 2": tiny_models.write_sd(folder / "sd2", openclip=True),
        "sdxl": tiny_models.write_sdxl(folder / "sdxl", second_width=48, prediction_type="v_prediction"),
    }


@pytest.fixture
def trained(tmp_path, bases):
    """Make a project with a trained model: `trained("sd", "lora", lora={…})`."""

    def make(name: str, kind: str, **train):
        return trained_models.make(tmp_path / "project", bases[name], name.partition(" ")[0], kind, **train)

    return make


def _folder(paths) -> Path:
    """The folder of the one export."""
    (path,) = (paths.root / "exports").glob("*/*")
    return path


def _out(paths) -> Path:
    """The one thing that was exported: a file, or the folder where there are several."""
    files = list(_folder(paths).glob("*.safetensors"))
    return files[0] if len(files) == 1 else _folder(paths)


@torch.no_grad()
def _prediction(components, prompt: str = "a bird") -> torch.Tensor:
    its_family = components.family
    return its_family.predict(
        components, torch.ones(1, 4, 8, 8), torch.tensor([400]), its_family.encode_prompt(components, [prompt])
    )


def _picture(pipeline, prompt: str = "a bird"):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(3)
    return torch.from_numpy(
        pipeline(
            prompt, height=16, width=16, num_inference_steps=2, guidance_scale=2.0, generator=noise, output_type="np"
        ).images
    )


def _expected(params, paths, prompt: str = "a bird"):
    """What the snapshot draws in plain diffusers, and that it is not what the base draws."""
    components = trained_models.restored(params, paths)
    its_family, base = components.family, DiffusionPipeline.from_pretrained(paths.root / "base", local_files_only=True)
    picture = _picture(its_family.pipeline(components, base.scheduler), prompt)
    assert (picture - _picture(base)).abs().max() > 2e-3
    return picture


@pytest.mark.parametrize(("name", "settings"), [("sd", {}), ("sd", {**WITH_TEXT, "rslora": True}), ("sdxl", WITH_TEXT)])
def test_kohyas_lora_draws_the_same_in_plain_diffusers(trained, name, settings):
    params, paths = trained(name, "lora", lora=settings)
    export(params, paths, format="kohya")
    pipeline = PIPELINES[name].from_pretrained(paths.root / "base", local_files_only=True)
    pipeline.load_lora_weights(_out(paths), local_files_only=True)
    assert torch.equal(_picture(pipeline), _expected(params, paths))


@pytest.mark.parametrize(
    ("name", "prefixes"), [("sd", {"lora_unet", "lora_te"}), ("sdxl", {"lora_unet", "lora_te1", "lora_te2"})]
)
def test_the_names_and_alphas_are_those_that_other_programs_read(trained, name, prefixes):
    params, paths = trained(name, "lora", lora={**WITH_TEXT, "alpha": 8})
    export(params, paths, format="kohya", dtype="float16")
    state = load_file(_out(paths))
    found = {"lora_unet" if key.startswith("lora_unet_") else key.partition("_text_model_")[0] for key in state}
    assert found == prefixes
    ends = {key.partition(".")[2] for key in state}
    assert ends == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert all("." not in key.removesuffix(f".{end}") for key in state for end in ends if key.endswith(f".{end}"))
    assert {state[key].item() for key in state if key.endswith(".alpha")} == {8.0}
    assert state["lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight"].shape[0] == 4
    assert {state[key].dtype for key in state if not key.endswith(".alpha")} == {torch.float16}


def _weight_update(state: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    """What ComfyUI and LyCORIS add to a layer: alpha / rank times a product, and no alpha where nothing has a rank."""
    own = {key.partition(".")[2]: tensor for key, tensor in state.items() if key.partition(".")[0] == layer}
    alpha = own["alpha"].item()
    if "hada_w1_a" in own:
        left, right = (own[f"hada_w{n}_a"] @ own[f"hada_w{n}_b"] for n in (1, 2))
        return left * right * alpha / len(own["hada_w1_b"])
    if "lokr_w2" in own:
        return torch.kron(own["lokr_w1"], own["lokr_w2"])
    return torch.kron(own["lokr_w1"], own["lokr_w2_a"] @ own["lokr_w2_b"]) * alpha / len(own["lokr_w2_b"])


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [("sd", "loha", WITH_TEXT), ("sdxl", "loha", {}), ("sd", "lokr", {**WITH_TEXT, "rank": 2}), ("sd", "lokr", {})],
)
def test_lokr_and_loha_by_the_formulas_of_lycoris_draw_the_same(trained, name, kind, settings):
    params, paths = trained(name, kind, **{kind: settings})
    export(params, paths, format="kohya")
    state, components = load_file(_out(paths)), family(name).load(paths.root / "base")
    modules = {
        "lora_unet": components.unet,
        "lora_te_text_model" if name == "sd" else "lora_te1": components.text_encoders[0],
    }
    changed = set()
    for prefix, module in modules.items():
        for layer, inner in module.named_modules():
            key = f"{prefix}_{layer.replace('.', '_')}"
            if f"{key}.alpha" in state:
                inner.weight.data += _weight_update(state, key)
                changed.add(key)
    assert changed == {key.partition(".")[0] for key in state}, "every layer of the file is found"
    torch.testing.assert_close(
        _prediction(components), _prediction(trained_models.restored(params, paths)), atol=1e-5, rtol=1e-5
    )


def test_lokr_of_small_rank_has_two_kinds_of_layers(trained):
    params, paths = trained("sd", "lokr", lokr={"rank": 2})
    export(params, paths, format="kohya")
    ends = {key.partition(".")[2] for key in load_file(_out(paths))}
    assert {"lokr_w1", "alpha"} < ends and ends <= {"lokr_w1", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "alpha"}


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sd", "dreambooth", {}),
        ("sd 2", "dreambooth", {}),
        ("sdxl", "dreambooth", {}),
        ("sd", "full", {}),
        ("sd", "lora", {**WITH_TEXT, "dora": True}),
        ("sdxl", "lora", WITH_TEXT),
        ("sd", "lokr", WITH_TEXT),
        ("sd", "loha", {}),
    ],
)
def test_one_checkpoint_draws_the_same_in_plain_diffusers(trained, name, kind, settings):
    params, paths = trained(name, kind, **({kind: settings} if settings else {}))
    export(params, paths, format="single-file")
    config = str(paths.root / "base")
    pipeline = PIPELINES[params.base.family].from_single_file(str(_out(paths)), config=config, local_files_only=True)
    torch.testing.assert_close(_picture(pipeline), _expected(params, paths), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "openclip"), [("sd", False), ("sd 2", True)])
def test_a_checkpoint_that_predicts_velocity_has_a_config_beside_it(trained, name, openclip):
    params, paths = trained(name, "dreambooth")
    report = export(params, paths, format="single-file")
    config = json.loads(_out(paths).with_suffix(".yaml").read_text())["model"]["params"]
    assert config["parameterization"] == "v" and config["unet_config"]["params"]["context_dim"] == tiny_models.WIDTH
    assert config["cond_stage_config"]["target"].endswith(
        "FrozenOpenCLIPEmbedder" if openclip else "FrozenCLIPEmbedder"
    )
    assert any("ModelSamplingDiscrete: v_prediction" in line for line in report.lines)
    assert any("together with dodo-dreambooth-step-000006.yaml" in line for line in report.lines)
    assert ("cond_stage_model.model.positional_embedding" in load_file(_out(paths))) is openclip


@pytest.mark.parametrize("zero", [False, True])
def test_sdxl_marks_by_empty_tensors_that_it_predicts_velocity(trained, zero):
    params, paths = trained("sdxl", "dreambooth", loss={"zero_terminal_snr": zero})
    export(params, paths, format="single-file")
    assert {"v_pred", "ztsnr"} & set(load_file(_out(paths))) == ({"v_pred", "ztsnr"} if zero else {"v_pred"})
    assert not _out(paths).with_suffix(".yaml").exists()


@pytest.mark.parametrize(("name", "kind"), [("sd", "lokr"), ("sdxl", "loha")])
def test_merged_folders_load_as_they_are(trained, name, kind):
    params, paths = trained(name, kind)
    export(params, paths, format="diffusers")
    pipeline = DiffusionPipeline.from_pretrained(_out(paths), local_files_only=True)
    torch.testing.assert_close(_picture(pipeline), _expected(params, paths), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [None, "float16"])
def test_a_full_model_keeps_the_bases_scheduler_to_the_byte(trained, dtype):
    params, paths = trained("sd", "dreambooth")
    export(params, paths, format="diffusers", dtype=dtype)
    for kept in ("scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "vae/config.json"):
        assert (_out(paths) / kept).read_bytes() == (paths.root / "base" / kept).read_bytes()
    wanted = torch.float16 if dtype else torch.float32
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        tensors = load_file(_out(paths) / part / f"{file}.safetensors")
        assert {tensor.dtype for tensor in tensors.values()} == {wanted}
    if not dtype:
        pipeline = DiffusionPipeline.from_pretrained(_out(paths), local_files_only=True)
        assert torch.equal(_picture(pipeline), _expected(params, paths))


def test_lora_for_diffusers_keeps_its_adapter_config(trained):
    params, paths = trained("sd", "lora", lora={**WITH_TEXT, "dora": True})
    export(params, paths, format="diffusers")
    pipeline = StableDiffusionPipeline.from_pretrained(paths.root / "base", local_files_only=True)
    pipeline.load_lora_weights(_out(paths), local_files_only=True)
    assert torch.equal(_picture(pipeline), _expected(params, paths))


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_embeddings_are_a_file_that_prompts_call_by_its_name(trained, name):
    params, paths = trained(name, "textual_inversion")
    report = export(params, paths, format="kohya")
    state = load_file(_out(paths))
    assert _out(paths).name == "dodo.safetensors" and "  trigger words: dodo" in report.lines
    assert set(state) == ({"emb_params"} if name == "sd" else {"clip_l", "clip_g"})
    pipeline = PIPELINES[name].from_pretrained(paths.root / "base", local_files_only=True)
    _load_embeddings(pipeline, state)
    n_vectors = len(next(iter(state.values())))
    assert n_vectors == 4  # by default
    vectors = " ".join(["<x>", *(f"<x>_{n}" for n in range(1, n_vectors))])
    expected = _expected(params, paths, trained_models.restored(params, paths).placeholder_tokens[trained_models.NAME])
    assert torch.equal(_picture(pipeline, vectors), expected)


def _load_embeddings(pipeline, state: dict[str, torch.Tensor]) -> None:
    ends = {"emb_params": "", "clip_l": "", "clip_g": "_2"}
    for key, tensor in state.items():
        part = {name: getattr(pipeline, f"{name}{ends[key]}") for name in ("tokenizer", "text_encoder")}
        pipeline.load_textual_inversion(tensor, token="<x>", **part)


@pytest.mark.parametrize("format", ["kohya", "diffusers"])
def test_pivotal_is_embeddings_and_an_adapter(trained, format):
    params, paths = trained("sd", "pivotal")
    report = export(params, paths, format=format)
    names = {path.name for path in _out(paths).glob("*.safetensors")}
    adapter, embeddings = (
        ("dodo-pivotal-step-000006.safetensors", "dodo.safetensors")
        if format == "kohya"
        else ("pytorch_lora_weights.safetensors", "learned_embeds.safetensors")
    )
    assert names == {adapter, embeddings}
    assert any("into models/loras" in line or "load_lora_weights" in line for line in report.lines)
    assert any("into embeddings" in line or "load_textual_inversion" in line for line in report.lines)
    pipeline = StableDiffusionPipeline.from_pretrained(paths.root / "base", local_files_only=True)
    pipeline.load_textual_inversion(str(_out(paths) / embeddings), token="<x>" if format == "kohya" else None)
    pipeline.load_lora_weights(_out(paths), weight_name=adapter, local_files_only=True)
    first = "<x>" if format == "kohya" else "<dodo>"
    expected = _expected(params, paths, trained_models.restored(params, paths).placeholder_tokens[trained_models.NAME])
    assert torch.equal(_picture(pipeline, f"{first} {first}_1"), expected)


@pytest.mark.parametrize("format", ["kohya", "single-file"])
def test_the_metadata_names_lineage_trigger_and_architecture(trained, format):
    params, paths = trained("sd", "lora")
    export(params, paths, format=format, step=2)
    with safe_open(_out(paths), "pt") as opened:
        header = opened.metadata()
    card = atomic_write.read_card(paths.model)
    for key in ("lineage_id", "base_digest", "dataset_digest", "licences_digest", "species", "method", "family"):
        assert header[key] == card[key]
    assert header["step"] == "2" and header["base"] == "base" and str(paths.root) not in json.dumps(header)
    assert header["modelspec.trigger_phrase"] == header["trigger"] == trained_models.NAME
    assert header["modelspec.prediction_type"] == "v" and "modelspec.date" not in header
    assert "modelspec.architecture" not in header, "the shape of this base is nobody's"
    content = _out(paths).read_bytes()
    after = content[8 + int.from_bytes(content[:8], "little") :]
    assert header["modelspec.hash_sha256"] == f"0x{hashlib.sha256(after).hexdigest()}"
    if format == "kohya":
        assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("4", "16")
        assert header["ss_network_module"] == "networks.lora" and header["ss_steps"] == "2"


@pytest.mark.parametrize(("kind", "format"), [("lora", "kohya"), ("dreambooth", "single-file"), ("lokr", "diffusers")])
def test_the_same_model_gives_the_same_bytes_and_replaces_nothing(trained, kind, format):
    params, paths = trained("sd", kind)
    export(params, paths, format=format)
    before = _content(paths.root / "exports")
    assert "is there already" in export(params, paths, format=format).lines[0]
    export(params, paths, format=format, out=paths.root / f"other{_out(paths).suffix}")
    assert _content(paths.root / "exports") == before
    fresh = paths.root / f"other{_out(paths).suffix}"
    assert (_content(fresh) if fresh.is_dir() else fresh.read_bytes()) == (
        _content(_out(paths)) if fresh.is_dir() else _out(paths).read_bytes()
    )
    with pytest.raises(InputError, match="is there already and is something else; delete it or choose another --out"):
        export(params, paths, format=format, dtype="bfloat16")
    assert _content(paths.root / "exports") == before


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_takes_the_step_that_the_evaluation_chose(trained):
    params, paths = trained("sd", "lora")
    last = export(params, paths, format="kohya", dry_run=True)
    assert any("step 6, the last one, since this model is not evaluated" in line for line in last.lines)
    atomic_write.write_json(paths.evaluation / "metrics.json", {"chosen_step": 2})
    assert "step-000002" in export(params, paths, format="kohya", dry_run=True).lines[0]
    atomic_write.write_card(paths.evaluation / "details", lineage_id="of another training")
    assert "step-000006" in export(params, paths, format="kohya", dry_run=True).lines[0]
    assert "step-000002" in export(params, paths, format="kohya", step=2, dry_run=True).lines[0]
    assert not (paths.root / "exports").exists()


def test_wrong_options_are_refused_in_a_sentence(trained, tmp_path):
    params, paths = trained("sd", "lora")
    for options, sentence in (
        ({"format": "kohia"}, "--format is 'kohia', which is not known; did you mean 'kohya'"),
        ({"format": "kohya", "step": 3}, "dodo has no step 3; there are 2, 6"),
        (
            {"format": "kohya", "dtype": "half"},
            "--dtype is 'half', which is not known; known are float16, float32, bfloat16",
        ),
        ({"format": "kohya", "out": tmp_path / "x.ckpt"}, "is no folder; make it, or name a file that ends in"),
    ):
        with pytest.raises(InputError, match=sentence):
            export(params, paths, **options)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to .*; choose another --out"):
        export(params, paths, format="kohya", out=tmp_path / "file" / "x.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(trained, tmp_path):
    params, paths = trained("sd", "lora")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot write to .*closed: Permission denied; choose another --out"):
        export(params, paths, format="kohya", out=tmp_path / "closed")


@pytest.mark.parametrize(
    ("kind", "format", "fits"),
    [("dreambooth", "kohya", "single-file"), ("textual_inversion", "single-file", "kohya"), ("lora", "kohya", "")],
)
def test_a_format_that_does_not_fit_names_the_one_that_does(trained, kind, format, fits):
    params, paths = trained("sd", kind, lora={"dora": True})
    with pytest.raises(InputError, match=f"take --format {fits or 'single-file'}"):
        export(params, paths, format=format)
    assert not [path for path in (paths.root / "exports").rglob("*") if path.is_file()]


def test_without_a_trained_model_it_says_what_to_run(trained):
    params, paths = trained("sd", "lora")
    with pytest.raises(InputError, match="dodo has no trained model yet; run `paleo train dodo` first"):
        (paths.model / "card.json").unlink()
        export(params, paths, format="kohya")


def test_merging_needs_the_base_of_the_training_and_kohya_does_not(trained, bases):
    params, paths = trained("sd", "lora")
    (paths.root / "base").unlink()
    with pytest.raises(InputError, match="merged into the base model 'base', which is not there; --format kohya"):
        export(params, paths, format="single-file")
    (paths.root / "base").symlink_to(bases["sdxl"])
    with pytest.raises(InputError, match="'base' is not the base model that the adapters were trained on"):
        export(params, paths, format="single-file")
    (paths.root / "base").unlink()
    assert "dodo-lora-step-000006" in export(params, paths, format="kohya").lines[0]


def test_a_damaged_snapshot_is_named(trained):
    params, paths = trained("sd", "lora")
    (paths.model / "step-000006/pytorch_lora_weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="pytorch_lora_weights.safetensors is missing or damaged"):
        export(params, paths, format="kohya")
