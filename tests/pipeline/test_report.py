"""`eimf backbones` names everything that the catalogue has."""

import pytest

from eimf.models.catalogue import BACKBONES
from pipeline.recipe import load_recipe
from pipeline.report import describe_backbone
from tests.pipeline.test_errors import eimf

D, T, F = 64, 50, 256  # default width, history length, and width inside


def test_the_verb_lists_every_backbone():
    result = eimf("backbones")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith((" ", "choose"))] == list(BACKBONES)
    assert "layers=2 heads=2 feed_forward=256" in result.stdout
    assert "dropout 0.5" in lines[1] and result.stdout.count("dropout 0.2") == 1  # bert4rec
    assert all(len(line) <= 160 for line in lines)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_is_told_in_a_line_and_its_options_are_settings(name):
    about, vectors, parameters, options = describe_backbone(name)
    assert about.endswith(".") and ": " in about and vectors >= 1 and parameters >= 0
    overrides = [f"model.options.{name}.{option}={str(value).lower()}" for option, value in options.items()]
    assert load_recipe("ml-100k", None, overrides).model.options.get(name, {}) == options


def test_vectors_and_parameters_are_counted():
    # positions T D, to_hidden D F, to_weight F K
    assert describe_backbone("comirec-sa")[1:3] == (4, T * D + D * F + F * 4)
    # positions, last norm 2 D; a block: 2 norms, qkv, out, expand, contract, each with a bias
    block = 2 * 2 * D + (D + 1) * 3 * D + (D + 1) * D + (D + 1) * F + (F + 1) * D
    assert describe_backbone("sasrec")[1:3] == (1, T * D + 2 * D + 2 * block)
