"""A study as one page."""

from collections.abc import Callable, Iterator

from eimf.errors import UserError
from pipeline.report.html.compared import compare_all
from pipeline.report.html.cost import cost_section
from pipeline.report.html.curves import curves_section
from pipeline.report.html.data import data_section
from pipeline.report.html.document import Section, document
from pipeline.report.html.in_short import in_short
from pipeline.report.html.interests import NamedModel, interests_section
from pipeline.report.html.people import people_section
from pipeline.report.html.ran import left_out_section, runs_section
from pipeline.report.html.results import results_section, tiles
from pipeline.report.html.runs import NDCG, Run, Study
from pipeline.report.html.signal import interests_checked, signal_section
from pipeline.report.html.slices import slices_section
from pipeline.report.html.stage_one import StageOne, stage_one_of
from pipeline.report.html.typical import typical_section

Found = tuple[Section | None, list[str]]
"""A section, and in words what it lacks."""


def report_page(study: Study, command: str) -> str:
    """The whole page; `command` made it."""
    differences = compare_all(study)
    found = [slices_section(study), curves_section(study), signal_section(study, differences), *_of_stage_one(study)]
    sections = [
        Section("in-short", "In short", in_short(study, differences, interests_checked(study))),
        runs_section(study),
        results_section(study, differences),
        *(section for section, _ in found if section is not None),
    ]
    lacking = [problem for _, problems in found for problem in problems]
    if (last := left_out_section(study, lacking)) is not None:
        sections.append(last)
    return document(study.title, sections, about=study.about, tiles=tiles(study, differences), command=command)


def _of_stage_one(study: Study) -> Iterator[Found]:
    """Users, typical users, use of interests, data and cost, as far as the store has them."""
    store = study.store
    if store is None or not study.datasets:
        yield None, ["Users, typical users, interests, data and cost: the store has no dataset of these trainings."]
        return
    stages, problems = _stages(study)
    models = [
        NamedModel(run.dataset, run.model, run.checkpoint) for run in _best_first(study) if run.checkpoint is not None
    ]
    yield None, problems
    yield _built("Users, and what they are interested in", lambda: people_section(stages))
    yield _built("Typical users", lambda: typical_section(stages))
    yield _built("Use of the interests of multi-interest models", lambda: interests_section(store, models))
    yield _built("Data", lambda: data_section(study.datasets))
    yield _built("Cost", lambda: cost_section(store, stages))


def _best_first(study: Study) -> list[Run]:
    """The best of each dataset, the second of each, and so on."""
    ranked: list[tuple[int, Run]] = []
    for name in study.names:
        own = [run for run in study.runs if run.dataset == name]
        ranked += enumerate(sorted(own, key=lambda run: -run.summary[str(NDCG)]))
    return [run for _, run in sorted(ranked, key=lambda place: place[0])]


def _stages(study: Study) -> tuple[list[StageOne], list[str]]:
    """What the store has of each dataset's stage one."""
    stages: list[StageOne] = []
    problems: list[str] = []
    for name in study.datasets:
        try:
            if study.store is not None and (esim := study.esim(name)) is not None:
                stages.append(stage_one_of(study.store, esim, name))
            else:
                problems.append(f"Stage one of {name}: the store has no ESIM artifact of it.")
        except UserError as error:
            problems.append(f"Stage one of {name}: {error}")
    return stages, problems


def _built(title: str, build: Callable[[], Section | None]) -> Found:
    """A section that damage in the store does not keep the others from."""
    try:
        section = build()
    except UserError as error:
        return None, [f"{title}: {error}"]
    return section, [] if section else [f"{title}: the store lacks what it needs."]
