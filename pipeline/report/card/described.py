"""A dataset with its figures, and how numbers are written on its card."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from eimf.data.card.sheet import DataCard, make_card
from eimf.store.artifact import Artifact
from pipeline.histories import read_dataset

_PATH = " > "


@dataclass(frozen=True)
class DescribedDataset:
    """What a card is about. `created` is when the artifact was built, as ISO 8601; `command` makes this card again."""

    name: str
    key: str
    created: str
    protocol: str
    notices: tuple[str, ...]
    command: str
    card: DataCard

    def to_json(self) -> dict[str, Any]:
        """All of it, for `json.dumps`."""
        return asdict(self)


def describe_dataset(dataset: Artifact, name: str) -> DescribedDataset:
    """A `dataset` artifact, called `name`, with its figures. Raises ArtifactError and DataError if it is damaged."""
    summary = dataset.manifest.summary
    card = make_card(
        read_dataset(dataset),
        dataset.table("items"),
        tied_share=dataset.summary_number("tied"),
        cleaning=dataset.table("cleaning"),
    )
    return DescribedDataset(
        name=name,
        key=dataset.key,
        created=dataset.manifest.created,
        protocol=str(summary.get("protocol")),
        notices=tuple(map(str, summary.get("notices", ()))),
        command=f"eimf data card {dataset.short}",
        card=card,
    )


def count(number: float) -> str:
    """A whole number with separators."""
    return f"{number:,.0f}"


def mean(number: float) -> str:
    """A mean or a quantile: with one decimal, unless it is whole or large."""
    return count(number) if number >= 1000 or number == int(number) else f"{number:.1f}"


def percent(share: float | None) -> str:
    """A share with three digits, as a percentage that no line break divides; a dash if there is none."""
    return "-" if share is None else f"{100 * share:.3g}\N{NO-BREAK SPACE}%"


def points(share: float | None) -> str:
    """A share in a column of percentages: two decimals, no sign."""
    return "-" if share is None else f"{100 * share:.2f}"


def date(seconds: float | None) -> str:
    """The day of a time in seconds since 1970, or the number itself if no calendar has it; a dash if there is none."""
    if seconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return f"{seconds:.4g}"


def duration(seconds: float) -> str:
    """A length of time in its largest unit."""
    units = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
    name, size = next((unit for unit in units if seconds >= 2 * unit[1]), ("seconds", 1))
    return f"{mean(round(seconds / size, 1))} {name}"


def cut(text: str, length: int) -> str:
    """On one line, and of a longer text its beginning and its end; of a path of categories the end."""
    text = " ".join(text.split())
    begin = 0 if _PATH in text else length // 2
    return text if len(text) <= length else f"{text[:begin]}\N{HORIZONTAL ELLIPSIS}{text[begin + 1 - length :]}"
