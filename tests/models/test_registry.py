import subprocess
import sys

import pytest

from sharpness_phases import models
from sharpness_phases.models.factory import ModelFactory


def test_every_family_is_found_by_its_name():
    for name in models.FAMILIES:
        assert issubclass(models.family(name), ModelFactory)
        assert models.family(name).name == name


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'vgg'.*fcn"):
        models.family("vgg")


def test_importing_the_package_does_not_import_keras():
    code = "import sys, sharpness_phases.models; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
