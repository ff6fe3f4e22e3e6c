"""What was run: datasets, models and seeds, every training, the settings, and what the report does not have."""

from collections.abc import Iterable
from typing import Any

from pipeline.report.card.described import count
from pipeline.report.html.document import Section, card
from pipeline.report.html.runs import Run, Study
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Number, Table

_TOOLS = ("eimf", "torch", "python")
_MOST_LEFT_OUT, _MOST_NAMES = 20, 5


def runs_section(study: Study) -> Section:
    """The section; what is left out comes with a reason."""
    parts: list[Markup] = [
        sortable(_overview(study), "Trainings by dataset", text_columns=3),
        *_settings(study),
        *(
            sortable(table, f"Settings searched by validation, {table.corner}", text_columns=2)
            for table in study.searched
        ),
        card(f"All {count(len(study.runs))} trainings", sortable(_every(study.runs), "Every training", text_columns=1)),
        *_made(study),
    ]
    return Section("what-was-run", "What was run", join(*parts))


def left_out_section(study: Study, more: Iterable[str]) -> Section | None:
    """In words what the report lacks, and why."""
    lines = list(dict.fromkeys([*study.left_out, *more]))
    if not lines:
        return None
    hidden = len(lines) - _MOST_LEFT_OUT
    shown = [tag("li", line) for line in lines[:_MOST_LEFT_OUT]]
    last = [tag("li", f"{hidden} more")] if hidden > 0 else []
    return Section("not-in-this-report", "Not in this report", tag("ul", *shown, *last))


def _overview(study: Study) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for dataset in study.names:
        runs = [run for run in study.runs if run.dataset == dataset]
        cases = {len(run.ndcg) for run in runs}
        lists = (_distinct(run.backbone for run in runs), _distinct(run.variant for run in runs))
        seeds = _distinct(str(seed) for seed in sorted({run.seed for run in runs}))
        rows.append((dataset, (Number(len(runs), 0), " or ".join(map(count, sorted(cases))), *lists, seeds)))
    return Table("dataset", ("trainings", "test cases", "backbones", "variants", "seeds"), tuple(rows))


def _distinct(names: Iterable[str]) -> str:
    """The names, or if they are many how many."""
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct) if len(distinct) <= _MOST_NAMES else count(len(distinct))


def _settings(study: Study) -> list[Markup]:
    """The settings of each variant, as the plan has them."""
    if not study.settings:
        return []
    every = list(study.settings.values())
    common = [setting for setting in every[0] if all(setting in settings for settings in every)] if every[1:] else []
    listed = {"all": tuple(common)} if common else {}
    listed |= {name: tuple(s for s in settings if s not in common) for name, settings in study.settings.items()}
    terms = [
        join(tag("dt", name), tag("dd", tag("code", "  ".join(settings))))
        for name, settings in listed.items()
        if settings
    ]
    return [card("Settings of the variants", tag("dl", *terms, class_="settings"))] if any(every) else []


def _every(runs: Iterable[Run]) -> Table:
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for run in runs:
        numbers = [
            _number(run, name, digits) for name, digits in (("ndcg@10", 4), ("recall@10", 4), ("valid_ndcg@10", 4))
        ]
        took = [_number(run, name, 0) for name in ("best_epoch", "epochs", "seconds")]
        key = run.calibration or run.checkpoint
        rows.append((run.model, (run.dataset, str(run.seed), *numbers, *took, key.short if key else "")))
    columns = ("dataset", "seed", "NDCG@10", "Recall@10", "validation", "best epoch", "epochs", "seconds", "artifact")
    return Table("model", columns, tuple(rows))


def _number(run: Run, name: str, digits: int) -> Number | None:
    value = run.summary.get(name)
    return None if value is None else Number(value, digits)


def _made(study: Study) -> list[Markup]:
    """When and with what, as far as the store tells."""
    manifests = [run.checkpoint.manifest for run in study.runs if run.checkpoint is not None]
    if not manifests:
        return []
    dates = sorted(manifest.created[:10] for manifest in manifests)
    span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    tools = ", ".join(f"{name} {_versions(manifests, name)}" for name in _TOOLS)
    seconds = sum(manifest.seconds for manifest in manifests)
    line = f"Trained {span}, with {tools}; {count(seconds / 60)} minutes of training in all."
    return [tag("p", line, class_="note")]


def _versions(manifests: Iterable[Any], name: str) -> str:
    return " and ".join(sorted({str(manifest.tools.get(name, "?")) for manifest in manifests}))
