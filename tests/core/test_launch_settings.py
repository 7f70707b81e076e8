"""What a launcher asks for and this machine lacks is refused in a sentence."""

import pytest

from pipeline.core import launch_settings
from pipeline.core.errors import InputError
from pipeline.core.launch_settings import Machine

NO_GPU, OLD, TWO = Machine(0, False, 4), Machine(1, False, 4), Machine(2, True, 4)
GPU = {"ACCELERATE_USE_CPU": "False"}
CPU = {"ACCELERATE_USE_CPU": "True"}
RANKS = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}
FSDP = {**RANKS, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def _check(logged: dict[str, str], machine: Machine) -> None:
    launch_settings.check(
        launch_settings.from_environment({"PALEO_ACCELERATE_CONFIG": "there.yaml", **logged}), machine
    )


@pytest.mark.parametrize(
    ("logged", "machine", "words"),
    [
        (GPU, NO_GPU, "there.yaml asks for 1 GPU on this machine, which has 0; mend its num_processes, or unset"),
        (RANKS, NO_GPU, "there.yaml asks for 4 GPUs on this machine, which has 0"),
        (RANKS, TWO, "there.yaml asks for 4 GPUs on this machine, which has 2"),
        ({**GPU, "ACCELERATE_MIXED_PRECISION": "bf16"}, OLD, "is bf16, which the GPU of this machine lacks; set it to"),
        ({**CPU, "ACCELERATE_MIXED_PRECISION": "fp16"}, TWO, "in there.yaml is fp16, which no CPU trains in; set it"),
        ({**CPU, "ACCELERATE_MIXED_PRECISION": "fp8"}, TWO, "in there.yaml is 'fp8'; here it may be no, fp16, bf16"),
        (
            {**CPU, "WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "9"},
            TWO,
            "asks for 9 processes on this machine, which has 4 ",
        ),
        ({**RANKS, "ACCELERATE_USE_DEEPSPEED": "true"}, TWO, "there.yaml has a distributed_type that is not trained"),
        ({**GPU, "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, TWO, "has a dynamo_backend; drop it and set train.compile"),
        ({**FSDP, "FSDP_VERSION": "1"}, TWO, "there.yaml has fsdp_version 1; set it to 2"),
        ({**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, TWO, "has fsdp_offload_params, which is not done here; drop it"),
        ({**FSDP, "FSDP_ACTIVATION_CHECKPOINTING": "true"}, TWO, "drop it and set train.gradient_checkpointing to tru"),
    ],
)
def test_what_is_not_there_is_refused(logged, machine, words):
    with pytest.raises(InputError) as error:
        _check(logged, machine)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("logged", "machine"),
    [
        ({}, NO_GPU),
        ({}, TWO),
        (CPU, NO_GPU),
        (GPU, OLD),
        (FSDP, TWO),
        ({**RANKS, **CPU}, NO_GPU),
        ({**GPU, "ACCELERATE_MIXED_PRECISION": "bf16"}, TWO),
        ({**CPU, "ACCELERATE_MIXED_PRECISION": "bf16"}, NO_GPU),
    ],
)
def test_what_is_there_is_not(logged, machine):
    _check(logged, machine)


def test_several_processes_are_on_the_cpu_when_every_gpu_is_hidden():
    logged = launch_settings.from_environment({**RANKS, "CUDA_VISIBLE_DEVICES": "-1,-1"})
    assert logged.on_cpu and not logged.on_gpu and logged.n_here == 4 and not logged.sharded
    assert launch_settings.from_environment({**RANKS, "CUDA_VISIBLE_DEVICES": "0,1"}).on_gpu
    assert (
        launch_settings.from_environment(FSDP).sharded
        and not launch_settings.from_environment({"ACCELERATE_USE_FSDP": "true"}).sharded
    )


@pytest.mark.parametrize("logged", ["0", "-2", "four", "", "1.5"])
def test_a_batch_in_no_number_of_parts(logged):
    words = (
        f"ACCELERATE_GRADIENT_ACCUMULATION_STEPS is '{logged}'; give a number from 1 on that divides train.batch_size"
    )
    with pytest.raises(InputError, match=words):
        launch_settings.from_environment({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": logged})
    assert launch_settings.from_environment({}).n_parts == 1
    assert launch_settings.from_environment({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}).n_parts == 4


def test_an_optimiser_that_cannot_be_cut():
    with pytest.raises(
        InputError, match="there.yaml cuts weights into pieces .FSDP., which train.optimiser 'prodigy' cannot do"
    ):
        launch_settings.check(
            launch_settings.from_environment({"PALEO_ACCELERATE_CONFIG": "there.yaml", **FSDP}), TWO, "prodigy"
        )
    launch_settings.check(
        launch_settings.from_environment(RANKS | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}), TWO, "prodigy"
    )
