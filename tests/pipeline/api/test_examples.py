"""Every public call has an example in its docstring, and the examples are true."""

import doctest
import inspect

import pytest

from pipeline import api
from pipeline.console import quiet
from tests import world as planted
from tests.pipeline.api.conftest import finish

CALLS = sorted(name for name in api.__all__ if inspect.isfunction(getattr(api, name)))
VARIANTS = {"plain": {"heads.preset": "plain"}, "wide": {"heads.preset": "plain", "model.width": 48}}
"""Those of the example of `sweep`, which finds all trials finished: other tests start the processes of one."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_there_are_ten_calls():
    assert len(CALLS) == 10


@pytest.mark.parametrize("name", CALLS)
def test_the_example_of_a_call_is_true(name, known, one_registry):
    world = planted.world()
    names = {
        "api": api,
        "folder": known.folder,
        "store": known.data.store,
        "data": known.data,
        "interests": known.interests,
        "plain": known.plain,
        "wide": known.wide,
        "interactions": world.interactions,
        "items": world.items,
    }
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(api, name), name, globs=names)
    assert example.examples, name
    if name == "sweep":
        finish(known.data, VARIANTS, [1], ["plain"], known.folder / "sweep")
    printed: list[str] = []
    with quiet():
        result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=printed.append)
    assert result.failed == 0, "".join(printed)
