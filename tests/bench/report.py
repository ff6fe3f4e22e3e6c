"""results.json to one table and one plot."""

import json
import statistics
from pathlib import Path
from typing import Any

median = statistics.median


def rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a data set and side: speeds, how often ours is faster than a peer, and how far ours is from its floor."""
    rows = []
    for result in summary["results"]:
        for name, side in result["ours"].items():
            row = _row(result["set"], name, side)
            precision = "bfloat16" if "bfloat16" in name else "float32"
            if name in ("EIMF", "EIMF, bfloat16"):
                row["floor"] = result["floor"][precision] / row["runtime"]
            rows.append(row)
        for name, peer in result["peers"].items():
            row = _row(result["set"], name, peer["training"][name])
            row["times"] = median(peer["training"][peer["rival"]]["targets_per_second"]) / row["runtime"]
            if "users_per_second" in peer:
                row["users"] = median(peer["users_per_second"][name])
                row["rank_times"] = median(peer["users_per_second"]["EIMF"]) / row["users"]
            rows.append(row)
    return rows


def _row(data: str, name: str, side: dict[str, Any]) -> dict[str, Any]:
    speeds = side["targets_per_second"]
    return {
        "set": data,
        "side": name,
        "runtime": median(speeds),
        "low": min(speeds),
        "high": max(speeds),
        "peak_mb": side["peak_mb"],
    }


def table(summary: dict[str, Any]) -> str:
    lines = [
        "| data | side | targets/s: median (range) | ours faster | step / floor | users/s | ours faster | MB |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows(summary):
        spread = f"{row['speed']:,.0f} ({row['low']:,.0f}-{row['high']:,.0f})"
        cells = [row["set"], row["side"], spread]
        cells += [_number(row, "times", "{:.1f} x"), _number(row, "floor", "{:.2f}"), _number(row, "users", "{:,.0f}")]
        cells += [_number(row, "rank_times", "{:.1f} x"), f"{row['peak_mb']:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([_conditions(summary), "", *lines, "", *[_notes(result) for result in summary["results"]]]) + "\n"


def _number(row: dict[str, Any], name: str, form: str) -> str:
    return form.format(row[name]) if name in row else ""


def _conditions(summary: dict[str, Any]) -> str:
    return f"{summary['date']}, {summary['cpu']}, {summary['threads']} threads, {summary['rounds']} rounds in turns."


def _notes(result: dict[str, Any]) -> str:
    rate = ", ".join(f"{key} {value / 1e9:.0f}" for key, value in result["product_rate"].items())
    vectors = result["faiss"]
    note = f"- {result['set']}: {result['users']:,} users, {result['items']:,} items, {result['targets']:,} targets an "
    note += f"epoch. Best matrix products: {rate} GFLOP/s. Given user vectors, exact ranks of {vectors['ours']:,.0f} "
    note += f"users/s, FAISS flat search for ten items {vectors['faiss']:,.0f}."
    if "profile" in result:
        shares = result["profile"].items()
        spent = ", ".join(f"{name.removeprefix('aten::')} {100 * share:.0f} %" for name, share in shares)
        note += f" Where a step goes: {spent}."
    if result.get("left_out"):
        note += f" Left out, for this CPU does not multiply bfloat16 itself: {', '.join(result['left_out'])}."
    if result.get("failed"):
        note += f" Ended before their time (memory): {', '.join(result['failed'])}."
    if "EIMF, with heads" in result["ours"]:
        plain, heads = (median(result["ours"][name]["targets_per_second"]) for name in ("EIMF", "EIMF, with heads"))
        note += f" The heads add {100 * (plain / heads - 1):.0f} % to a step."
    return note


def plot(summary: dict[str, Any], target: Path) -> None:
    """Targets a second, a group of bars a data set; logarithmic. Without matplotlib there is none."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "eimf"
    import matplotlib.pyplot as plt

    sets = [result["set"] for result in summary["results"]]
    names = list(dict.fromkeys(row["side"] for row in rows(summary)))
    figure, axis = plt.subplots(figsize=(9, 4.5))
    for place, name in enumerate(names):
        mine = {row["set"]: row["runtime"] for row in rows(summary) if row["side"] == name}
        spots = [sets.index(each) + (place - len(names) / 2 + 0.5) * 0.8 / len(names) for each in mine]
        axis.bar(spots, list(mine.values()), width=0.8 / len(names), label=name)
    axis.set_yscale("log")
    axis.set_xticks(range(len(sets)), sets)
    axis.set_ylabel("trained targets a second")
    axis.set_title(f"{summary['threads']} CPU threads, width 64, length 50, full softmax unless said")
    axis.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def write_report(folder: Path) -> None:
    summary = json.loads((folder / "results.json").read_text())
    (folder / "table.md").write_text(table(summary))
    plot(summary, folder / "plot.svg")
