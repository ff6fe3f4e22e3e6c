"""What stage one cost, stage by stage, and what reuse saved: replies that were found, and trainings that shared it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.report.card.described import count, duration
from pipeline.report.html.document import Section
from pipeline.report.html.stage_one import StageOne
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Number, Table
from pipeline.trained import CALIBRATION, CHECKPOINT

_METRICS = "metrics"
_TRAINED = (CHECKPOINT, CALIBRATION, _METRICS)


@dataclass(frozen=True)
class Asked:
    """What a stage asked an LLM. `wanted`: its different requests; `sent`: how many were sent, those asked for again
    included. `read` and `written` are tokens of the last replies to what was sent; if only a part was, in proportion to
    all, as if requests were equally long."""

    wanted: int
    sent: int
    read: int
    written: int

    @property
    def found(self) -> int:
        """Replies that the store had already, at least: what was asked for again is not told apart."""
        return max(0, self.wanted - self.sent)


@dataclass(frozen=True)
class StageCost:
    """The building of one artifact: wall time in `seconds`, and what was asked; None for a stage that asks nobody."""

    kind: str
    seconds: float
    asked: Asked | None


@dataclass(frozen=True)
class StageOneCost:
    """The stages behind one `esim` artifact, in order, and `trainings`: the checkpoints of the store that read it.
    `missing`: whether the store lacks some of the stages."""

    name: str
    stages: tuple[StageCost, ...]
    trainings: int
    missing: bool

    @property
    def total(self) -> StageCost:
        """All stages together."""
        asked = [stage.asked for stage in self.stages if stage.asked is not None]
        return StageCost("all", sum(stage.seconds for stage in self.stages), _sum(asked))

    @property
    def shared(self) -> int:
        """Trainings that did not have to pay, because another one had."""
        return max(0, self.trainings - 1)


@dataclass(frozen=True)
class TrainingCost:
    """The artifacts of one kind in stage two, and their wall time together."""

    kind: str
    number: int
    seconds: float


def cost_section(store: Store, stages: Sequence[StageOne]) -> Section | None:
    """The cost of stage one by dataset, and that of everything trained in the store; None if it has neither."""
    trained = list(_manifests(store, _TRAINED))
    costs = collect_cost(stages, trained)
    trainings = tuple(_training_costs(trained))
    if not costs and not trainings:
        return None
    return Section("cost", "Cost, and what reuse saved", join(*_body(costs, trainings)))


def collect_cost(stages: Sequence[StageOne], trained: Iterable[Artifact]) -> tuple[StageOneCost, ...]:
    """What each stage one cost. `trained` are artifacts of the store, of any kind."""
    keys = [artifact.manifest.parents.get("esim") for artifact in trained if artifact.manifest.kind == CHECKPOINT]
    return tuple(
        StageOneCost(
            stage.name,
            tuple(map(_stage_cost, stage.artifacts.values())),
            keys.count(stage.esim.key),
            missing=not all(kind in stage.artifacts for kind in stage.esim.manifest.parents),
        )
        for stage in stages
    )


def _stage_cost(artifact: Artifact) -> StageCost:
    manifest = artifact.manifest
    sent = manifest.summary.get("llm_requests")
    if sent is None or "replies.parquet" not in manifest.files:
        return StageCost(manifest.kind, manifest.seconds, None)
    columns = [schema.REQUEST_KEY, schema.PROMPT_TOKENS, schema.REPLY_TOKENS]
    rows = artifact.table("replies", columns).to_pylist()
    tokens = {row[schema.REQUEST_KEY]: (row[schema.PROMPT_TOKENS], row[schema.REPLY_TOKENS]) for row in rows}
    read, written = (sum(part) for part in zip(*tokens.values(), strict=True)) if tokens else (0, 0)
    share = min(1.0, sent / max(len(tokens), 1))
    asked = Asked(len(tokens), int(sent), round(read * share), round(written * share))
    return StageCost(manifest.kind, manifest.seconds, asked)


def _sum(asked: Sequence[Asked]) -> Asked | None:
    """None if nobody was asked."""
    if not asked:
        return None
    return Asked(*(sum(getattr(part, name) for part in asked) for name in ("wanted", "sent", "read", "written")))


def _manifests(store: Store, kinds: Sequence[str]) -> Iterator[Artifact]:
    """The artifacts of these kinds; one that is damaged or of another format is left out (`eimf verify` tells)."""
    for kind, key in store.listing():
        if kind in kinds:
            try:
                artifact = store.find(kind, key)
            except ArtifactError:
                continue
            if artifact is not None:
                yield artifact


def _training_costs(trained: Sequence[Artifact]) -> Iterator[TrainingCost]:
    for kind in _TRAINED:
        seconds = [artifact.manifest.seconds for artifact in trained if artifact.manifest.kind == kind]
        if seconds:
            yield TrainingCost(kind, len(seconds), sum(seconds))


_COLUMNS = ("seconds", "requests sent", "replies found", "tokens read", "tokens written", "tokens a second")


def _body(costs: Sequence[StageOneCost], trainings: Sequence[TrainingCost]) -> Iterator[Markup]:
    if costs:
        yield _saved(costs)
        yield _overview(costs)
    for cost in costs:
        yield tag(
            "details",
            tag("summary", "Stages of ", tag("bdi", cost.name)),
            *([tag("p", "The store lacks some of the stages: their cost is not known here.")] if cost.missing else []),
            sortable(Table("stage", _COLUMNS, tuple(_row(stage) for stage in cost.stages)), f"Stages of {cost.name}"),
            class_="card",
        )
    if trainings:
        rows = tuple((_NAMES[of.kind], (count(of.number), *_seconds(of))) for of in trainings)
        yield sortable(Table("all of the store", ("number", "seconds", "seconds each"), rows), "Stage two")
    yield tag(
        "p",
        "Seconds are wall time on the machines that built each artifact, loading of models included, whatever else ran "
        "there. Tokens are those of the last reply to each request; if a part of the replies was found in the store, "
        "those of the rest are in proportion.",
        class_="note",
    )


_NAMES = {CHECKPOINT: "trainings", CALIBRATION: "calibrations", _METRICS: "evaluations"}


def _seconds(of: TrainingCost) -> tuple[Cell, ...]:
    return count(of.seconds), Number(of.seconds / of.number, 1)


def _saved(costs: Sequence[StageOneCost]) -> Markup:
    """What reuse saved over all datasets, in a sentence or two."""
    shared = sum(cost.shared for cost in costs)
    seconds = sum(cost.shared * cost.total.seconds for cost in costs)
    tokens = sum(cost.shared * _tokens(cost.total.asked) for cost in costs)
    found = sum(stage.asked.found for cost in costs for stage in cost.stages if stage.asked is not None)
    trainings = sum(cost.trainings for cost in costs)
    lines = [
        f"{count(trainings)} trainings of this store read interests, and {count(len(costs))} times stage one was paid."
    ]
    if shared:
        lines.append(
            f"Had each of the other {count(shared)} paid it again, that would have been {duration(seconds)} and "
            f"{count(tokens)} tokens more."
        )
    lines.append(f"{count(found)} replies were found in the store and not asked for.")
    return tag("p", " ".join(lines))


def _tokens(asked: Asked | None) -> int:
    return 0 if asked is None else asked.read + asked.written


def _overview(costs: Sequence[StageOneCost]) -> Markup:
    rows = []
    for cost in costs:
        saved = cost.trainings, cost.shared * cost.total.seconds, cost.shared * _tokens(cost.total.asked)
        name, own = _row(replace(cost.total, kind=cost.name))
        rows.append((name, (*own, *map(count, saved))))
    columns = (*_COLUMNS, "trainings", "seconds saved", "tokens saved")
    return sortable(Table("stage one of", columns, tuple(rows)), "Stage one")


def _row(stage: StageCost) -> tuple[str, tuple[Cell, ...]]:
    """Its name, and _COLUMNS."""
    seconds = f"{stage.seconds:,.1f}"
    if stage.asked is None:
        return stage.kind, (seconds, None, None, None, None, None)
    asked = stage.asked
    rate = count(_tokens(asked) / stage.seconds) if stage.seconds > 0 and _tokens(asked) else None
    return stage.kind, (seconds, *map(count, (asked.sent, asked.found, asked.read, asked.written)), rate)
