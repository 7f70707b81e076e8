"""Memory savings and compilation change no gradient; which blocks are sharded; half precision."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.core.errors import ParamsError
from pipeline.families import family
from pipeline.methods.trainable import Trainable
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.distributed import fsdp, memory_savings
from pipeline.training.loop import Hooks, train_to_end
from pipeline.training.task import prepare
from tests import tiny_models
from tests.training import world


@pytest.fixture
def trainable(sd_base):
    """All weights are trained."""
    components = family("sd").load(sd_base)
    modules = {"unet": components.unet, "text_encoder": components.text_encoders[0]}
    for module in modules.values():
        module.requires_grad_(True)
    return Trainable(components, modules)


def _loss(trainable: Trainable) -> torch.Tensor:
    components, number = trainable.components, torch.Generator().manual_seed(1)
    prompts = family("sd").encode_tokens(components, (torch.arange(tiny_models.CONTEXT)[None].repeat(2, 1),))
    noisy = torch.randn(2, 4, 8, 8, generator=number)
    return family("sd").predict(components, noisy, torch.tensor([3, 700]), prompts).square().mean()


def _gradients(trainable: Trainable) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(_loss(trainable), list(trainable.parameters.values()))


def _kept_bytes(trainable: Trainable) -> int:
    """What the forward pass keeps for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss(trainable)
    return sum(kept.values())


def _train(project, **train):
    return world.load(project).train.model_copy(update=train)


def test_checkpointing_keeps_less_and_gives_the_same_gradients(trainable, project):
    before, kept = _gradients(trainable), _kept_bytes(trainable)
    names = list(trainable.parameters)
    memory_savings.apply(trainable, _train(project, gradient_checkpointing=True))
    assert _kept_bytes(trainable) < 0.7 * kept
    assert list(trainable.parameters) == names
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(_gradients(trainable), before, strict=True))


def test_only_checkpointed_layers_are_in_training_mode(trainable, project):
    memory_savings.apply(trainable, _train(project, gradient_checkpointing=True))
    training = {type(part).__name__ for part in trainable.modules["text_encoder"].modules() if part.training}
    assert training == {"CLIPEncoderLayer"}
    assert not any(part.training for part in trainable.modules["unet"].modules())


def test_a_frozen_denoiser_is_checkpointed_too(trainable, project):
    """Gradients pass through it to trained token embeddings."""
    trainable.components.unet.requires_grad_(False)
    text_only = Trainable(trainable.components, {"text_encoder": trainable.modules["text_encoder"]})
    before, kept = _gradients(text_only), _kept_bytes(text_only)
    memory_savings.apply(text_only, _train(project, gradient_checkpointing=True))
    assert _kept_bytes(text_only) < 0.7 * kept
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(_gradients(text_only), before, strict=True))


def test_compiling_keeps_names_and_numbers(trainable, project):
    before, names = _gradients(trainable), list(trainable.components.unet.state_dict())
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    memory_savings.apply(trainable, _train(project, compile=True), backend=backend)
    after = _gradients(trainable)
    assert compiled and list(trainable.components.unet.state_dict()) == names
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    torch._dynamo.reset()


def test_a_sharded_model_is_compiled_block_by_block(trainable, project):
    memory_savings.apply(trainable, _train(project, compile=True), sharded=True, backend="eager")
    compiled = {type(part).__name__ for part in trainable.components.unet.modules() if part._compiled_call_impl}
    assert compiled == {"BasicTransformerBlock", "ResnetBlock2D"}


def test_compile_is_refused_without_a_compiler(trainable, project, monkeypatch):
    monkeypatch.setattr(memory_savings.shutil, "which", lambda name: None)
    with pytest.raises(ParamsError, match="no C\\+\\+ compiler for it; install g\\+\\+ or set train.compile to false"):
        memory_savings.apply(trainable, _train(project, compile=True))


def test_half_precision_is_for_frozen_weights_only(project, tmp_path):
    losses = {}
    monitor_off = {"timesteps": 0, "prompts": []}
    run = world.training_run(project, method="lora", steps=2, snapshots=[2], monitor=monitor_off)
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(True)
        accelerator, store = (
            Accelerator(cpu=True, mixed_precision=precision),
            CheckpointStore(tmp_path / precision, "x"),
        )
        job = prepare(run, accelerator, tmp_path / "cache")
        kinds = {(weight.requires_grad, weight.dtype) for weight in job.trainable.components.unet.parameters()}
        assert kinds == {(True, torch.float32), (False, torch.float32 if precision == "no" else torch.bfloat16)}
        hooks = Hooks(lambda report: None, lambda line: None, lambda: False, lambda: 0.0)
        losses[precision] = [row[0] for row in train_to_end(job, accelerator, store, hooks).history]
    AcceleratorState._reset_state(True)
    assert losses["bf16"] != losses["no"] and losses["bf16"] == pytest.approx(losses["no"], rel=0.05)


def test_the_innermost_blocks_are_sharded(trainable):
    kinds = {type(block).__name__ for module in trainable.modules.values() for block in fsdp.blocks(module)}
    assert kinds == {"BasicTransformerBlock", "ResnetBlock2D", "CLIPTextEmbeddings", "CLIPEncoderLayer"}


def test_tensors_that_are_not_sharded_stay_as_they_are(trainable):
    weight = next(iter(trainable.parameters.values()))
    assert fsdp.full_tensor(weight) is fsdp.shard_like(weight, weight) is fsdp.local_shard(weight) is weight
    before = trainable.modules["unet"].state_dict()
    with fsdp.full_state_dicts(trainable.modules, keep=True):
        now = trainable.modules["unet"].state_dict()
    assert all(now[name] is not None and torch.equal(now[name], before[name]) for name in before)
