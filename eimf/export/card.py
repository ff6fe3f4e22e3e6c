"""The card of a bundle, for people: what it is, where it came from, how good it was, how to use it, what it is not."""

from collections.abc import Mapping, Sequence
from typing import Any

from eimf.serving.cold_start import ColdStartPart
from eimf.serving.labels import LabelSettings
from eimf.serving.manifest import IndexPart, Model, Source

_METRICS = ("recall", "ndcg", "mrr")


def card(
    model: Model,
    source: Source,
    index: IndexPart,
    labels: LabelSettings | None,
    cold_start: ColdStartPart,
    metrics: Mapping[str, Any],
    item_ids: Sequence[str],
    titles: Sequence[str | None],
) -> str:
    """The text of `README.md`, in Markdown."""
    one_each = "one interest" if model.interests == 1 else f"{model.interests} interests"
    names = f"{labels.count:,} names of interests, from an LLM" if labels else "none"
    esim = f", interests `{source.esim[:12]}`" if source.esim else ""
    picks = f"\n- {_picks(cold_start)}" if labels else ""
    return f"""# A recommender: {model.backbone}, {model.num_items:,} items

Given the items that somebody had, oldest first, it recommends what may come next. It was exported by EIMF, and is
served without an LLM, a text encoder, or torch.

| | |
|---|---|
| backbone | {model.backbone}: {one_each} for each user, {_numbers(model)} for each item |
| history | the last {model.max_length} events{", with their times" if model.uses_timestamps else ""} |
| items of the history | {"may be recommended again" if model.keep_seen else "are not recommended again"}, by default |
| index | {_index(index)} |
| titles | {_titles(titles)} |
| labels | {names} |
| from | {_from(source)}, dataset `{source.dataset[:12]}`{esim} |

## Use

```python
from eimf.serving import Recommender  # pip install 'path/to/eimf[serve]': EIMF's folder

model = Recommender.load(".")  # this folder
for item in model.recommend_one({[item_id[:40] for item_id in item_ids[:2]]!r}, count=10).items:
    print(item.item_id, item.score, item.reason.label, item.reason.because)
```

Over HTTP, in this folder: `eimf serve .`{_new_users(labels)}

## Measured

{_measured(metrics)}

## Limits

- It knows these items only; new items need a training and an export.
- Without a known item of a history, it recommends what was popular at the end of the training data.
- Scores compare items of one answer, not answers.
- Labels say what an LLM called an interest. They explain a recommendation; they do not change it.{picks}
- `bundle.json` has the size and sha256 of every file: they show damage, not who made the bundle.
"""


def _numbers(model: Model) -> str:
    if model.base_width == model.width:
        return f"{model.width} numbers"
    return f"{model.base_width} numbers, and {model.width - model.base_width} more of its calibration"


def _from(source: Source) -> str:
    checkpoint = f"checkpoint `{source.checkpoint[:12]}`"
    return f"{checkpoint}, calibration `{source.calibration[:12]}`" if source.calibration else checkpoint


def _titles(titles: Sequence[str | None]) -> str:
    count = sum(title is not None for title in titles)
    if count in (0, len(titles)):
        return "of all items" if count else "none: items are shown by their ids"
    return f"of {count:,} of {len(titles):,} items"


def _new_users(labels: LabelSettings | None) -> str:
    """How to recommend to somebody without a history, if interests have names."""
    if not labels:
        return ""
    return "\n\nSomebody without a history picks from `model.menu(20)`; `model.recommend_for(names)` recommends."


def _picks(cold_start: ColdStartPart) -> str:
    """For which histories a name that is picked counts: the weights are zero if it did not help on validation data."""
    counts = [weights.names != 0 for weights in cold_start.named]
    if all(counts):
        return "An interest that somebody picks by its name changes the recommendations, whatever the history."
    if not any(counts):
        return "An interest that somebody picks by its name changes nothing: on validation data it did not help."
    last = len(counts) - 1
    lengths = [f"{length}{' or more' if length == last else ''}" for length in range(last + 1) if not counts[length]]
    return (
        "An interest that somebody picks by its name changes the recommendations, but not after "
        f"{', '.join(lengths)} events: there it did not help on validation data."
    )


def _index(index: IndexPart) -> str:
    if index.recall is None:
        return index.kind
    recall = ", ".join(f"{share:.4f} of the best {count}" for count, share in index.recall.items())
    return f"{index.kind}, which finds {recall}"


def _measured(metrics: Mapping[str, Any]) -> str:
    """A table of the test metrics over all cases."""
    rows = [row for row in metrics.get("metrics", ()) if row["slice"] == "all" and row["value"] is not None]
    values = {(row["metric"], row["k"]): row["value"] for row in rows}
    cutoffs = [k for k in sorted({k for _, k in values}) if any((name, k) in values for name in _METRICS)]
    if not cutoffs:
        return "Nothing: the store had no metrics of this checkpoint."
    lines = ["| | " + " | ".join(f"@{k}" for k in cutoffs) + " |", "|---|" + "---|" * len(cutoffs)]
    for name in _METRICS:
        cells = [f"{values[name, k]:.4f}" if (name, k) in values else "" for k in cutoffs]
        lines += [f"| {name} | {' | '.join(cells)} |"] if any(cells) else []
    cases = max(row["cases"] for row in rows)
    return "\n".join([f"On {cases:,} test cases that the training has not seen, among all items:", "", *lines])
