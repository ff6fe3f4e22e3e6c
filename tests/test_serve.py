"""A trained backbone behind a function: the same ranking as the evaluation's, from item ids alone."""

import re
from pathlib import Path

import pytest

from eimf import schema
from eimf.errors import ArtifactError, DataError
from eimf.serve import Recommender
from eimf.store.artifact import Artifact, Store
from pipeline.jobs import run_esim, run_train
from pipeline.report import show_recommended
from tests import world as planted

README = Path(__file__).parents[1] / "README.md"
TIMED = ("dataset.columns.timestamp=order", "model.backbone=hstu", "model.options.hstu.time=true")


@pytest.fixture(scope="module", params=["sasrec", "comirec-sa", "hstu"])
def served(request, tmp_path_factory, world_folder) -> tuple[Recommender, Artifact, Artifact, Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    timed = TIMED if request.param == "hstu" else (f"model.backbone={request.param}",)
    recipe = planted.recipe(world_folder, *timed, "heads.preset=text", "train.epochs=3")
    dataset = run_esim(recipe, store)["dataset"]
    result = run_train(recipe, store)
    return Recommender.load(store, result.checkpoint.key[:12]), dataset, result.metrics, store


def histories(dataset: Artifact) -> dict[int, list[tuple[str, float]]]:
    """Every user's events in order: item id and time."""
    names = dataset.table("items")[schema.ITEM_ID].to_pylist()
    found: dict[int, list[tuple[str, float]]] = {}
    for row in dataset.table("events").to_pylist():
        found.setdefault(row[schema.USER], []).append((names[row[schema.ITEM] - 1], row[schema.TIMESTAMP]))
    return found


def test_it_ranks_as_the_evaluation_does(served):
    model, dataset, metrics, _ = served
    ranks = {row[schema.USER]: row[schema.RANK] for row in metrics.table("ranks").to_pylist()}
    users = {user: events for user, events in histories(dataset).items() if events[-1] not in events[:-1]}
    past = [[item for item, _ in events[:-1]] for events in users.values()]
    times = [[time for _, time in events[:-1]] for events in users.values()]
    shown = model.recommend(past, count=len(model.items), times=times)
    compared = 0
    for (user, events), before, best in zip(users.items(), past, shown, strict=True):
        items = [item for item, _ in best]
        assert set(items) == set(model.items) - set(before)
        assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
        if events[-1][0] not in before:
            assert items.index(events[-1][0]) + 1 == ranks[user]
            compared += 1
    assert compared > 20


def test_a_user_alone_and_among_others_and_strangers_items(served):
    model, dataset, _, _ = served
    several = [events[:9] for events in list(histories(dataset).values())[:5]]
    past, times = ([[event[part] for event in events] for events in several] for part in (0, 1))
    together = model.recommend(past, times=times)
    for history, own, best in zip(past, times, together, strict=True):
        strange = ["unheard of", *history[:3], "another", *history[3:]]
        alone = model.recommend([strange], times=[[0.0, *own[:3], 1.0, *own[3:]]])[0]
        assert [item for item, _ in alone] == [item for item, _ in best]
        assert [score for _, score in alone] == pytest.approx([score for _, score in best], abs=1e-5)
    with_seen = model.recommend(past[:1], count=999, times=times[:1], filter_seen=False)[0]
    assert len(with_seen) == len(model.items)
    assert model.recommend([]) == []


def test_what_it_cannot_serve(served):
    model, _, _, store = served
    with pytest.raises(DataError, match=r"number 1 has no item of the catalogue: .*nobody"):
        model.recommend([model.items[:2], ["nobody"]], times=[[0, 1], [0]])
    with pytest.raises(ArtifactError, match="eimf status"):
        Recommender.load(store, "0000")
    if model.backbone.timed:
        with pytest.raises(DataError, match="times: none"):
            model.recommend([model.items[:2]])
        with pytest.raises(DataError, match="times: not as many"):
            model.recommend([model.items[:2]], times=[[1.0]])


def test_the_readmes_example(served, capsys):
    model, _, metrics, store = served
    if model.backbone.timed:
        return
    key = metrics.manifest.parents["checkpoint"]
    code = re.search(r"```python\n(from pathlib import Path\n.*?Recommender.*?)```", README.read_text(), re.DOTALL)
    assert code
    example = code[1].replace('"artifacts"', repr(str(store.root))).replace("0123456789ab", key[:12])
    example = example.replace('"B0001"', repr(model.items[0])).replace('"B0002"', repr(model.items[1]))
    found: dict[str, list[list[tuple[str, float]]]] = {}
    exec(example, found)
    assert len(found["best"][0]) == 10
    show_recommended(store, key, model.items[:2], 10)
    shown = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in shown] == [item for item, _ in found["best"][0]]
