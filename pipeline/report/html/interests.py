"""How multi-interest models use their interests: whether these differ, or have collapsed to one vector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.report.card.described import count, percent
from pipeline.report.html.document import Section, verdict
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Number, Table
from pipeline.trained import dataset_of, training_of

if TYPE_CHECKING:
    from eimf.data.histories import Histories
    from eimf.evaluation.interest_use import InterestUse

_MOST_MODELS = 12
_IN_USE = "in use"
_FEW, _MOST_OFTEN = 0.05, 0.95
"""A model has collapsed if fewer histories lead to different interests, or if one of its interests is more often the
one that gives the first item."""


@dataclass(frozen=True)
class NamedModel:
    """A checkpoint or calibration, with the names of its dataset and of what was trained, the seed left out."""

    dataset: str
    trained: str
    artifact: Artifact


@dataclass(frozen=True)
class NamedUse:
    """How one model uses its interests."""

    dataset: str
    trained: str
    use: "InterestUse"

    @property
    def verdict(self) -> str:
        """In words whether it has collapsed."""
        if self.use.several < _FEW:
            return "collapsed: alike"
        return "collapsed: one decides" if max(self.use.wins) > _MOST_OFTEN else _IN_USE


@dataclass(frozen=True)
class UseOfModels:
    """What was measured, why others could not be, and how many were left out because there are many."""

    measured: tuple[NamedUse, ...]
    problems: tuple[str, ...]
    left_out: int


def interests_section(store: Store, models: Sequence[NamedModel]) -> Section | None:
    """The use of interests of one seed of each model with several interests; None if there is no such model."""
    of = collect_use(store, models)
    if not of.measured and not of.problems:
        return None
    return Section("use-of-interests", "Use of the interests of multi-interest models", join(*_body(of)))


def collect_use(store: Store, models: Sequence[NamedModel], most: int = _MOST_MODELS) -> UseOfModels:
    """At most so many models are loaded, the first training of each, without their calibration: it adds the same to
    all interests of a user, so of a model and its calibrations only the first is looked at."""
    first: dict[tuple[str, str], NamedModel] = {}
    for model in models:
        first.setdefault((model.dataset, model.trained), model)
    measured: list[NamedUse] = []
    problems, left_out = [], 0
    histories: dict[str, Histories] = {}
    seen: set[str] = set()
    for model in first.values():
        try:
            checkpoint = training_of(store, model.artifact)
            if checkpoint.key in seen or _interest_count(checkpoint.manifest.configuration) < 2:
                continue
            seen.add(checkpoint.key)
            if len(measured) == most:
                left_out += 1
                continue
            measured.append(NamedUse(model.dataset, model.trained, _measure(store, checkpoint, histories)))
        except ArtifactError as error:  # copied without its weights or dataset, or damaged
            problems.append(f"{model.trained} on {model.dataset} is left out: {error}")
    measured.sort(key=lambda named: (named.dataset, named.trained))
    return UseOfModels(tuple(measured), tuple(problems), left_out)


def _interest_count(configuration: Mapping[str, Any]) -> int:
    """The number of interests by the configuration of a training; 1 if its backbone has no such option."""
    model = configuration.get("model", {})
    options = model.get("options", {}).get(model.get("backbone"), {})
    return int(options.get("interests", 1))


def _measure(store: Store, checkpoint: Artifact, read: "dict[str, Histories]") -> "InterestUse":
    from eimf.evaluation.interest_use import interest_use
    from pipeline.histories import read_dataset
    from pipeline.serving import load_backbone

    dataset = dataset_of(store, checkpoint)
    if dataset.key not in read:
        read[dataset.key] = read_dataset(dataset)
    histories = read[dataset.key]
    trained, backbone = load_backbone(checkpoint, histories.num_items)
    cases = histories.cases[schema.TEST]
    return interest_use(backbone, histories, cases, max_length=trained.model.max_length, keep_seen=trained.keep_seen)


def _body(of: UseOfModels) -> Iterator[Markup]:
    if of.measured:
        collapsed = [named for named in of.measured if named.verdict != _IN_USE]
        histories = max(named.use.cases for named in of.measured)
        what = f"{count(len(collapsed))} collapsed" if collapsed else "none has collapsed"
        yield tag("p", f"Of {count(len(of.measured))} models, after at most {count(histories)} test histories, {what}.")
        if of.left_out:
            line = f"{count(of.left_out)} more models have several interests, and were not loaded: these are the best."
            yield tag("p", line)
        yield _table(of.measured)
        yield tag(
            "p",
            "Users: share whose history leads to at least two interests with a cosine below .999. Different: their "
            "mean number. Cosine: mean over the pairs of a user's interests. First items: how many different items "
            "these put first. Used: interests that give the first item of all, as if equally often (exp of the "
            "entropy). Share of each: how often each place gives it. Collapsed: users below 5 %, or one share above "
            "95 %.",
            class_="note",
        )
    if of.problems:
        yield tag("ul", *(tag("li", problem) for problem in of.problems))


_COLUMNS = ("interests", "users", "different", "cosine", "first items", "used", "share of each, %", "")


def _table(measured: Sequence[NamedUse]) -> Markup:
    rows = tuple((f"{named.dataset}, {named.trained}", _cells(named)) for named in measured)
    return sortable(Table("model", _COLUMNS, rows), "Use of interests", text_columns=1)


def _cells(named: NamedUse) -> tuple[Cell, ...]:
    use = named.use
    shares = " ".join(f"{100 * share:.0f}" for share in use.wins)
    numbers = ((use.different, 1), (use.cosine, 2), (use.top_items, 1), (use.used, 1))
    word = verdict(named.verdict, "good" if named.verdict == _IN_USE else "bad")
    return str(len(use.wins)), percent(use.several), *(Number(*number) for number in numbers), shares, word
