"""Plans of searches over the planted world, and trials with known curves."""

import json

from pipeline.search.plan import SearchSettings
from pipeline.search.proposals import Method, Pruning, propose
from pipeline.search.space import Choices, Range, Values
from pipeline.search.trials import SearchTrial
from tests import world as planted

SEARCHED = ("train.lr", "model.width", "model.dropout", "train.epochs")
SETTINGS = [setting for setting in planted.FAKES if not setting.startswith(SEARCHED)]
# Both train on events alone: no stage one but the dataset. With this seed the second trial learns far more slowly than
# the first one, and is pruned.
PLAN = f"""
recipes = ["world.toml"]
backbones = ["sasrec"]
seeds = [1, 2]
baselines = ["plain"]
settings = {json.dumps([*SETTINGS, "heads.preset=plain", "train.epochs=3"])}
[variants]
plain = []
short = ["model.max_length=4"]
[search]
trials = 3
batch = 1
seed = 12
random_trials = 2
unpruned_trials = 1
[space]
train.lr = {{low=1e-4, high=3e-2, log=true}}
"model.dropout" = [0.0, 0.2]
model.width = {{low=8, high=24, step=8}}
"""
SPACE = {
    "train.lr": Range(1e-4, 1e-2, log=True),
    "model.width": Range(8, 64, step=8),
    "model.dropout": Choices((0, 0.5)),
}
EPOCHS = 9


def method(**settings: object) -> Method:
    return Method(SearchSettings(**{"random_trials": 3, "unpruned_trials": 2, **settings}), SPACE, EPOCHS)


def curve(values: Values) -> list[float]:
    """What such a training would reach in each epoch: more with small dropout and a width of 32."""
    top = 1 / (1 + abs(values["model.width"] - 32) / 8 + values["model.dropout"] + 10 * values["train.lr"])
    return [top * epoch / EPOCHS for epoch in range(1, EPOCHS + 1)]


def finished(number: int, values: Values, pruning: Pruning | None) -> SearchTrial:
    """The trial with that curve, ended where its pruning says."""
    valid = curve(values)
    epoch = None if pruning is None else pruning.after(valid[:-1])
    base = {"dataset": "world", "backbone": "sasrec", "variant": "plain", "search": "0", "optuna": "5"}
    if epoch is not None:
        return SearchTrial(number=number, values=values, state="pruned", valid=valid[:epoch], **base)
    return SearchTrial(number=number, values=values, state="complete", valid=valid, value=max(valid), **base)


def search(method: Method, trials: int, begun: tuple[SearchTrial, ...] = ()) -> list[SearchTrial]:
    """A search from the trials that an earlier one has finished, of each batch the last trial first."""
    known, size = {trial.number: trial for trial in begun}, method.settings.batch
    for first in range(0, trials, size):
        numbers = range(first, min(first + size, trials))
        before = [known[number] for number in range(first)]
        values = {number: known[number].values for number in numbers if number in known}
        batch = propose(method, before, values, numbers)
        for position, number in reversed(list(enumerate(numbers))):
            if number not in known:
                known[number] = finished(number, batch[position], Pruning(method, before, batch, position))
    return [known[number] for number in range(trials)]
