"""What Optuna proposes and prunes: the only module that imports it.

Optuna stores no state of its random numbers, so a study that is loaded again proposes something else. Here each trial
has numbers of its own, by the seed of the search and the number of the trial, and the study is made again from the
finished trials whenever something is asked. So a proposal is a function of the plan and of the trials before it: it
does not matter which process asks, how often the search was killed, and which worker was first. All contenders have
the same random numbers: as long as they draw at random, they try the same values.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from eimf.store import keys
from pipeline.search.plan import SearchSettings
from pipeline.search.space import Choices, Space, Values
from pipeline.search.trials import SearchTrial

if TYPE_CHECKING:
    from types import ModuleType

    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

    Distributions = dict[str, BaseDistribution]

_STUDY = "search"
"""The name that Hyperband derives its brackets from: the same trials of all contenders are in the same bracket."""
_SEED_DIGITS = 8
"""Hex digits of a seed of numpy."""


@dataclass(frozen=True)
class Method:
    """What decides the proposals to a contender besides its trials."""

    settings: SearchSettings
    space: Space
    epochs: int
    """Of a trial, at most."""


def version() -> str:
    """That of Optuna. Raises ModuleNotFoundError."""
    _optuna()
    return metadata.version("optuna")


def propose(
    method: Method, finished: Sequence[SearchTrial], known: Mapping[int, Values], numbers: Sequence[int]
) -> list[Values]:
    """Values of the trials `numbers`, which come after all those that are `finished`, in the order of their numbers.
    None is proposed to a trial whose values are `known`."""
    study, distributions = _study(method, finished)
    asked = []
    for number in numbers:
        study.sampler = _sampler(method.settings, number)
        values = known.get(number)
        asked.append(study.ask(distributions) if values is None else _ask(study, distributions, method.space, values))
    return [_values(trial, method.space) for trial in asked]


@dataclass
class Pruning:
    """Whether one trial of a batch is to end early, by the trials of earlier batches. It can be sent to a process."""

    method: Method
    finished: Sequence[SearchTrial]
    batch: Sequence[Values]
    """Of all trials of the batch."""
    position: int
    """Which of them this is."""
    _trial: "Trial | None" = field(default=None, init=False)
    _asked: int = field(default=0, init=False)

    def after(self, valid: Sequence[float]) -> int | None:
        """After how many of the epochs with these metrics the trial ends; None if it continues. Each call has the
        epochs of the calls before, and more."""
        if self._trial is None:
            study, distributions = _study(self.method, self.finished)
            batch = [_ask(study, distributions, self.method.space, values) for values in self.batch]
            self._trial = batch[self.position]
        for epoch in range(self._asked + 1, len(valid) + 1):
            self._trial.report(valid[epoch - 1], epoch)
            self._asked = epoch
            if self._trial.should_prune():
                return epoch
        return None


def _study(method: Method, finished: Sequence[SearchTrial]) -> "tuple[Study, Distributions]":
    """A study with the trials that are finished, and the space in its words."""
    optuna = _optuna()
    study = optuna.create_study(
        study_name=_STUDY,
        direction="maximize",
        sampler=_sampler(method.settings, 0),
        pruner=_pruner(method.settings, method.epochs),
    )
    distributions = _distributions(method.space)
    for trial in finished:
        asked = _ask(study, distributions, method.space, trial.values)
        for epoch, value in enumerate(trial.valid, 1):
            asked.report(value, epoch)
            asked.should_prune()  # Hyperband notes which rungs the trial has reached
        if trial.state == "complete":
            study.tell(asked, trial.value)
        else:  # one that failed has no metrics: to the sampler, the worst
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    return study, distributions


def _ask(study: "Study", distributions: "Distributions", space: Space, values: Values) -> "Trial":
    """A new trial with these values."""
    study.enqueue_trial({name: _given(space, name, value) for name, value in values.items()})
    return study.ask(distributions)


def _values(trial: "Trial", space: Space) -> Values:
    chosen = trial.params
    return {
        name: json.loads(chosen[name]) if isinstance(parameter, Choices) else chosen[name]
        for name, parameter in space.items()
    }


def _given(space: Space, name: str, value: Any) -> Any:
    """A value as Optuna has it: a choice, which may be a list, is its JSON."""
    return json.dumps(value) if isinstance(space[name], Choices) else value


def _distributions(space: Space) -> "Distributions":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: Distributions = {}
    for name, parameter in space.items():
        if isinstance(parameter, Choices):
            found[name] = CategoricalDistribution([json.dumps(value) for value in parameter.values])
        elif parameter.integers:
            low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
            found[name] = IntDistribution(low, high, log=parameter.log, step=step)
        else:
            found[name] = FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return found


def _sampler(settings: SearchSettings, number: int) -> Any:
    """That of one trial, with its own random numbers."""
    samplers = _optuna().samplers
    seed = int(keys.digest([settings.seed, number])[:_SEED_DIGITS], 16)
    if settings.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, n_startup_trials=settings.random_trials)


def _pruner(settings: SearchSettings, epochs: int) -> Any:
    pruners = _optuna().pruners
    if settings.pruner == "median":
        return pruners.MedianPruner(settings.unpruned_trials, settings.unpruned_epochs)
    if settings.pruner == "hyperband":
        return pruners.HyperbandPruner(settings.unpruned_epochs, max(epochs, settings.unpruned_epochs))
    return pruners.NopPruner()


def _optuna() -> "ModuleType":
    """Optuna, without its lines on the terminal. Raises ModuleNotFoundError."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
