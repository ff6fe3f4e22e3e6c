"""The table of a sweep: mean and spread over seeds, and paired differences over users."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sweep import Plan, Task, read_result, unpack

if TYPE_CHECKING:
    import torch

Runs = dict[int, dict[str, Any]]
"""Results of one variant by seed."""


def comparison(plan: Plan, tasks: list[Task], results: Path) -> str:
    """A Markdown table for each dataset and backbone of the finished runs.

    A difference is that of the mean over the common seeds of every user's NDCG@10, with the paired two-sided p over
    users; * marks p < .05. Where the gate left the interests out, the row says so.
    """
    found: dict[tuple[str, str], dict[str, Runs]] = {}
    for task in tasks:
        result = read_result(results, task)
        if result is not None:
            variants = found.setdefault((task.dataset, task.backbone), {})
            variants.setdefault(task.variant, {})[task.seed] = result
    shut = {(task.dataset, task.variant) for task in tasks if task.shut}
    lines = []
    for (dataset, backbone), rows in found.items():
        titles = {name: f"{name} (gate shut)" if (dataset, name) in shut else name for name in rows}
        lines += [f"### {dataset}, {backbone}", "", *_part(plan, rows, titles), ""]
    return "\n".join(lines)


def _part(plan: Plan, rows: dict[str, Runs], titles: dict[str, str]) -> list[str]:
    columns = [name for name in plan.against if name in rows]
    return [
        "| | seeds | NDCG@10 | Recall@10 | " + "".join(f"minus {name} | " for name in columns),
        "|---|--:|--:|--:|" + "--:|" * len(columns),
        *(_row(variant, titles[variant], rows, columns) for variant in plan.variants if variant in rows),
    ]


def _row(variant: str, title: str, rows: dict[str, Runs], columns: list[str]) -> str:
    runs = rows[variant]
    means = (_spread([run[f"{name}@10"] for run in runs.values()]) for name in ("ndcg", "recall"))
    differences = ("" if name == variant else _difference(rows[name], runs) for name in columns)
    return "| " + " | ".join([title, str(len(runs)), *means, *differences]) + " |"


def _spread(values: list[float]) -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    return f"{mean:.4f} ± {deviation:.4f}"


def _difference(base: Runs, runs: Runs) -> str:
    """Runs minus base over the seeds that both have."""
    import torch

    from eimf.metrics import paired_difference

    seeds = sorted(base.keys() & runs.keys())
    if not seeds:
        return ""
    one, other = (torch.stack([_ndcg(each[seed]) for seed in seeds]).mean(dim=0) for each in (base, runs))
    mean, _, p = paired_difference(one, other)
    return f"{mean:+.4f} (p {p:.2g}){'*' if p < 0.05 else ''}"


def _ndcg(run: dict[str, Any]) -> "torch.Tensor":
    import torch

    from eimf.evaluate import user_metric

    return user_metric(torch.from_numpy(unpack(run["ranks"])), "ndcg", 10)
