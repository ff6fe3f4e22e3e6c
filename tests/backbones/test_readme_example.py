"""The example of a new backbone in the docstring of the interface is a backbone: file, line, training."""

import inspect
import re
import sys
import textwrap
import types

import pytest

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.backbones.build import options_of
from eimf.backbones.registry import BACKBONES
from eimf.evaluation.rank_users import mean_metric, rank_users
from tests.backbones.test_backbones import trained


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> type[Backbone]:
    guide = inspect.cleandoc(sys.modules[Backbone.__module__].__doc__ or "")
    code = re.search(r"\n\n((?:    .*\n|\n(?=    |\n))+)", guide)
    line = re.search(r'`"(last-items)": (\w+)`', guide)
    assert code and line
    module = types.ModuleType("last_items")
    exec(compile(textwrap.dedent(code[1]), "last_items.py", "exec"), module.__dict__)
    monkeypatch.setitem(BACKBONES, line[1], getattr(module, line[2]))
    return BACKBONES["last-items"]


def test_it_has_options_and_learns(example):
    assert options_of("last-items")().model_dump() == {"reach": 2}
    assert inspect.getdoc(example)
    trainer, losses = trained("last-items", 15, users=120, lr=2e-2)
    ranking = rank_users(trainer.backbone, trainer.histories, schema.TEST, max_length=12, keep_seen=True, batch_size=32)
    # The next item of the planted world follows from the last but one.
    assert mean_metric(ranking, "ndcg", 10) > 0.9 and losses[-1] < losses[0]
