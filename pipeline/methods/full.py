"""Training from scratch: the denoiser's weights are initialised anew, and the text encoders' if they are trained.

The base gives its shape and its autoencoder. `paleo pretrain` trains the embedded base's denoiser in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.methods.full_fine_tune_method import FullFineTuneMethod
from pipeline.methods.method import Method

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.trainable import Trainable


class Full(FullFineTuneMethod):
    name = "full"

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        """Initialise the trained weights; a teacher, if one is used, is the base before that."""
        from pipeline.diffusion import noise
        from pipeline.methods import full_fine_tune
        from pipeline.methods.adapters import modules_to_train
        from pipeline.methods.trainable import cast

        with_text = self.trains_text_encoder(train)
        if not with_text:
            cast(components.text_encoders, frozen_dtype)
        modules = modules_to_train(components, with_text=with_text)
        teacher = full_fine_tune.frozen_copy(components, modules, train.prior, frozen_dtype)
        for name, module in modules.items():
            full_fine_tune.initialise(module, noise.generator(seed, f"full/{name}"))
        return full_fine_tune.every_weight(components, modules, teacher)


_: type[Method] = Full
