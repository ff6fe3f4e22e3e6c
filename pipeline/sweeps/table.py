"""The table of a sweep: mean and spread over seeds, and paired differences over users."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sweeps.plan import Plan, Trial
from pipeline.sweeps.results import read_result, unpack

if TYPE_CHECKING:
    import torch

Runs = dict[int, dict[str, Any]]
"""Results of one variant by seed."""


def comparison(plan: Plan, tasks: list[Trial], results: Path) -> str:
    """Two Markdown tables for each dataset of the finished runs, a row for each backbone. First the test NDCG@10 /
    Recall@10 of every variant, mean and standard deviation over seeds; where some seeds are still missing, it says
    which it is of. Then what every variant has over those of `plan.against`: the difference of the mean over the common
    seeds of every user's NDCG@10, with the paired two-sided p over users; * marks p < .05.

    Where the gate left the interests out, the variant says so.
    """
    found: dict[str, dict[str, dict[str, Runs]]] = {}
    for task in tasks:
        result = read_result(results, task)
        if result is not None:
            variants = found.setdefault(task.dataset, {}).setdefault(task.backbone, {})
            variants.setdefault(task.variant, {})[task.seed] = result
    shut = {(task.dataset, task.variant) for task in tasks if task.shut}
    lines = []
    for dataset, backbones in found.items():
        names = [name for name in plan.variants if any(name in rows for rows in backbones.values())]
        titles = {name: f"{name} (gate shut)" if (dataset, name) in shut else name for name in names}
        values = {
            backbone: [_value(rows.get(name, {}), plan.seeds) for name in names] for backbone, rows in backbones.items()
        }
        lines += [*_table(dataset, [titles[name] for name in names], values), ""]
        pairs = _pairs(names, plan.against)
        if pairs:
            differences = {
                backbone: [_difference(rows.get(base, {}), rows.get(name, {})) for name, base in pairs]
                for backbone, rows in backbones.items()
            }
            lines += [*_table(dataset, [f"{name} minus {base}" for name, base in pairs], differences), ""]
    return "\n".join(lines)


def _table(corner: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    head = [f"| {corner} | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    return head + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def _pairs(names: list[str], against: list[str]) -> list[tuple[str, str]]:
    """Every variant with each that it is compared with, two variants once."""
    found: list[tuple[str, str]] = []
    for base in against:
        found += [(name, base) for name in names if base in names and name != base and (base, name) not in found]
    return found


def _value(runs: Runs, seeds: list[int]) -> str:
    if not runs:
        return ""
    ndcg, recall = (_spread([run[f"{name}@10"] for run in runs.values()]) for name in ("ndcg", "recall"))
    some = "" if len(runs) == len(seeds) else f", seed {', '.join(map(str, sorted(runs)))}"
    return f"{ndcg} / {recall}{some}"


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

    from eimf.metrics import per_case

    ranks = torch.from_numpy(unpack(run["ranks"]))
    return per_case("ndcg", ranks, torch.arange(len(ranks)), len(ranks), 10)  # leave-one-out: one item a case
