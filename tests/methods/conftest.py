"""The tiny bases that tests of training use."""

from tests.training.conftest import sd_base, sdxl_base

__all__ = ["sd_base", "sdxl_base"]
