"""Which sections a study has about its users, its interests, its data and its cost."""

from collections.abc import Callable, Iterator

from eimf.errors import ArtifactError, UserError
from eimf.store.artifact import Artifact, Store
from pipeline.report.html.cost import cost_section
from pipeline.report.html.data import data_section
from pipeline.report.html.document import Section
from pipeline.report.html.interests import NamedModel, interests_section
from pipeline.report.html.people import people_section
from pipeline.report.html.runs import Study
from pipeline.report.html.stage_one import StageOne, stage_one_of
from pipeline.report.html.typical import typical_section


def stage_one_sections(study: Study) -> Iterator[tuple[Section | None, list[str]]]:
    """Each section, None if the store has nothing to show in it, and in words why it could not be made."""
    store = study.store
    if store is None:
        return
    stages = _stages(study, store)
    models = [NamedModel(run.dataset, run.model, run.checkpoint) for run in study.runs if run.checkpoint is not None]
    yield _made("the users", lambda: people_section(stages))
    yield _made("typical users", lambda: typical_section(stages))
    yield _made("the use of interests", lambda: interests_section(store, models))
    yield _made("the data", lambda: data_section(study.datasets))
    yield _made("the cost", lambda: cost_section(store, stages))


def _made(what: str, section: Callable[[], Section | None]) -> tuple[Section | None, list[str]]:
    try:
        return section(), []
    except UserError as error:
        return None, [f"No section about {what}: {error}"]


def _stages(study: Study, store: Store) -> list[StageOne]:
    """What the trainings of the study have read; of a dataset whose trainings read none, what the store has."""
    used = {run.checkpoint.manifest.parents.get("esim") for run in study.runs if run.checkpoint is not None}
    of_dataset: dict[str, list[Artifact]] = {name: [] for name in study.datasets}
    names = {dataset.key: name for name, dataset in study.datasets.items()}
    for kind, key in store.listing():
        if kind == "esim" and (esim := _readable(store, key)) is not None and esim.parent("dataset") in names:
            of_dataset[names[esim.parent("dataset")]].append(esim)
    stages = []
    for name, esims in of_dataset.items():
        chosen = [esim for esim in esims if esim.key in used] or esims
        for esim in sorted(chosen, key=lambda one: one.manifest.created):
            stages.append(stage_one_of(store, esim, name if len(chosen) == 1 else f"{name}, esim {esim.short}"))
    return stages


def _readable(store: Store, key: str) -> Artifact | None:
    """None for a damaged one: `eimf verify` tells."""
    try:
        return store.find("esim", key)
    except ArtifactError:
        return None
