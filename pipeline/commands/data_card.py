"""The command `data card`: what a dataset is like, in the terminal, as a page or as JSON."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from eimf.errors import DataError, SettingError
from eimf.store.artifact import Artifact, Store
from eimf.store.files import write_atomic
from pipeline.console import info, working
from pipeline.recipe import Recipe
from pipeline.report.card.described import DescribedDataset, describe_dataset
from pipeline.report.card.page import card_page
from pipeline.report.card.terminal import show_card
from pipeline.stages.base import base_artifacts
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.lockfile import read_lock, save_lock, settings_behind
from pipeline.stages.stage import find_or_build

_ENDINGS = (".html", ".htm")


def run_card(store: Store, chosen: Recipe | str, output: Path | None, as_json: bool) -> None:
    """Print the card of a recipe's dataset, or of the dataset with this key, and write it as a page to `output`, if
    there is one. With `as_json` only JSON is on standard output. Raises SettingError for another ending than that of a
    page, before anything is built."""
    if output is not None and output.suffix.lower() not in _ENDINGS:
        problem = f"{output} has the ending {output.suffix!r}"
        raise SettingError("data card --output", problem, f"end the name with one of {', '.join(_ENDINGS)}")
    if as_json:
        with redirect_stdout(sys.stderr):
            dataset = _described(store, chosen)
        info(json.dumps(dataset.to_json(), indent=1))
    else:
        dataset = _described(store, chosen)
        show_card(dataset)
    if output is not None:
        write_atomic(output, card_page(dataset).encode())
        if not as_json:
            info(f"\nThe card as a page: {output}")


def _described(store: Store, chosen: Recipe | str) -> DescribedDataset:
    """The dataset of a recipe, built if the store lacks it, or that with this key, with its figures."""
    dataset = store.get("dataset", chosen) if isinstance(chosen, str) else _dataset_of(chosen, store)
    name = f"Dataset {dataset.short}" if isinstance(chosen, str) else chosen.dataset.name
    with working("reading the events"):
        return describe_dataset(dataset, name)


def _dataset_of(recipe: Recipe, store: Store) -> Artifact:
    """From the store, or built; that of the lock file if the raw files are not here."""
    store.remove_stale()
    behind = settings_behind(recipe, "dataset")
    try:
        stage = dataset_stage(recipe)
    except DataError:
        if (locked := read_lock(store, behind)) is None:
            raise
        return locked
    dataset, _ = find_or_build(stage, store, base_artifacts(recipe, store))
    save_lock(store, behind, dataset)
    return dataset
