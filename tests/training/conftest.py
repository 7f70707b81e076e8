import pytest

from tests import tiny_models
from tests.training import world


@pytest.fixture(scope="session")
def sd_base(tmp_path_factory):
    return tiny_models.write_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="session")
def sdxl_base(tmp_path_factory):
    return tiny_models.write_sdxl(tmp_path_factory.mktemp("base") / "sdxl")


@pytest.fixture
def project(tmp_path, sd_base):
    """Paths of a project that is ready to be trained."""
    return world.make_project(tmp_path, sd_base)
