"""Many trainings, and their table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from eimf.errors import SettingError
from eimf.statistics import LEVEL
from eimf.store.artifact import Store
from pipeline import stores
from pipeline.api.call import Settings, call, same_store
from pipeline.api.datasets import Dataset
from pipeline.api.display import table_html, titled_html
from pipeline.api.interests import Interests
from pipeline.commands.sweep import finished_trials, prepare_trials, run_trials
from pipeline.report.tables import Table
from pipeline.report.text import format_table
from pipeline.sweeps.plan import Plan, Recipes, make_plan, read_plan
from pipeline.sweeps.results import TrialResult
from pipeline.sweeps.table import results_tables
from pipeline.written_settings import flat_settings, setting_text

_NOTES = (
    "Means: ndcg@10 / recall@10 of the test events, ± standard deviation over seeds.",
    f"Differences: ndcg@10 over the same users, ± standard error; p by Holm, * below {LEVEL}.",
)
"""How to read the tables."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """The results of a plan."""

    store: Store
    plan: Plan
    folder: Path
    """Has the results, in `results.jsonl` and `table.md`."""
    results: Sequence[TrialResult]

    @cached_property
    def tables(self) -> list[Table]:
        """Means over seeds, and paired differences to the baselines, of each dataset."""
        return results_tables(self.plan, self.results)

    @property
    def table(self) -> pa.Table:
        """A row for each trial: `dataset`, `backbone`, `variant`, `seed`, test and validation metrics, `seconds`."""
        coordinates = ("dataset", "backbone", "variant", "seed")
        rows = [{**{name: getattr(run, name) for name in coordinates}, **run.summary} for run in self.results]
        return pa.Table.from_pylist(rows)

    def __repr__(self) -> str:
        return "\n\n".join([self._title, *map(format_table, self.tables), "\n".join(_NOTES)])

    def _repr_html_(self) -> str:
        return titled_html(self._title, map(table_html, self.tables), _NOTES)

    @property
    def _title(self) -> str:
        return f"Sweep of {len(self.results)} trials in {self.folder}"


def sweep(
    source: Path | str | Dataset | Interests | Sequence[Dataset | Interests],
    variants: Mapping[str, Settings] | None = None,
    *,
    backbones: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2),
    baselines: Sequence[str] = (),
    results: Path | str | None = None,
    store: Store | Path | str = "artifacts",
    workers: int = 2,
    progress: bool = True,
) -> Sweep:
    """Train every combination of datasets, `backbones` (by default theirs), `variants` (settings by name) and `seeds`,
    and compare the variants with the `baselines` over the same users.

    `source` is a plan's file, which says all of that, or one or several datasets in one store. The folder `results`
    (by default `sweep`, or the name of the plan's file) keeps what has finished, so the same call resumes. `workers`
    trainings run at a time, each in a process of its own. Raises the errors of `eimf sweep`.

    >>> variants = {"plain": {"heads.preset": "plain"}, "wide": {"heads.preset": "plain", "model.width": 48}}
    >>> finished = api.sweep(data, variants, seeds=[1], baselines=["plain"], results=folder / "sweep")
    >>> finished.table["variant"].to_pylist()
    ['plain', 'wide']
    """
    with call("sweep", progress):
        recipes: Recipes
        if isinstance(source, Path | str):
            path = Path(source)
            plan, recipes, opened = _of_file(path, variants), path.resolve().parent, _opened(store)
            folder = path.with_suffix("") if results is None else Path(results)
        else:
            datasets = list(_datasets(source))
            plan, opened = (
                plan_of(datasets, variants, backbones, seeds, baselines),
                same_store([d.store for d in datasets]),
            )
            recipes = {data.name: data.draft for data in datasets}
            folder = Path("sweep" if results is None else results)
        trials = prepare_trials(plan, recipes, opened, folder)
        run_trials(plan, trials, opened, folder, workers)
        return Sweep(opened, plan, folder, finished_trials(trials, folder))


def _opened(store: Store | Path | str) -> Store:
    return store if isinstance(store, Store) else stores.open_store(store)


def _of_file(path: Path, variants: Mapping[str, Settings] | None) -> Plan:
    if variants is not None:
        raise SettingError("variants", "given together with the file of a plan", "write them into the plan")
    return read_plan(path)


def _datasets(source: Dataset | Interests | Iterable[Dataset | Interests]) -> Iterable[Dataset]:
    for data in [source] if isinstance(source, Dataset | Interests) else source:
        yield data.data if isinstance(data, Interests) else data


def plan_of(
    datasets: Sequence[Dataset],
    variants: Mapping[str, Settings] | None,
    backbones: Sequence[str] | None,
    seeds: Sequence[int],
    baselines: Sequence[str],
) -> Plan:
    """Raises SettingError."""
    texts = {
        name: [setting_text(*setting) for setting in flat_settings(settings, f"variants[{name!r}]")]
        for name, settings in (variants or {}).items()
    }
    values = {
        "recipes": [data.name for data in datasets],
        "backbones": list(backbones or dict.fromkeys(data.recipe.model.backbone for data in datasets)),
        "seeds": list(seeds),
        "variants": texts,
        "baselines": list(baselines),
    }
    return make_plan(values, "the call", Plan)
