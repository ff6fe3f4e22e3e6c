"""The plan of stage one in the terminal: what each number of clusters covers and costs."""

from dataclasses import dataclass

from pipeline.console import info
from pipeline.report.tables import Cell, Number, Table
from pipeline.report.text import format_table
from pipeline.stages.planning import Choice, Plan

KNEE_RULE = "farthest above the line from first to last, on linear axes scaled to 1 (Kneedle, 2011)"


@dataclass(frozen=True)
class Price:
    """Of a million tokens of prompts, and of a million tokens of replies, in any currency."""

    prompts: float
    replies: float


def show_plan(plan: Plan, price: Price | None) -> None:
    """Print two tables, and under each what its figures rest on."""
    info()
    info(format_table(requests_table(plan, price)))
    for line in notes(plan, price):
        info(line)
    info()
    info(format_table(coverage_table(plan)))
    info("Mean cosine of a user's vector to that of the nearest typical user of the same cluster.")


def requests_table(plan: Plan, price: Price | None) -> Table:
    """A row for each number of clusters."""
    columns = ["typical", "mean", "low decile", "to ask", "prompt tokens", "reply tokens"]
    columns += ["time"] if plan.rate else []
    columns += ["cost"] if price else []
    rows = []
    for place, choice in enumerate(plan.choices):
        replies = choice.pending * plan.reply_tokens
        cells: list[Cell] = [f"{choice.typical:,}", Number(choice.coverage.mean), Number(choice.coverage.low)]
        cells += [f"{number:,.0f}" for number in (choice.pending, choice.prompt_tokens, replies)]
        if plan.rate:
            cells.append(duration((choice.prompt_tokens + replies) / plan.rate))
        if price:
            cells.append(cost((choice.prompt_tokens * price.prompts + replies * price.replies) / 1e6))
        rows.append((_name(plan, place, choice), tuple(cells)))
    return Table("clusters", tuple(columns), tuple(rows))


def coverage_table(plan: Plan) -> Table:
    """A row for each group of users."""
    names = list(dict.fromkeys(name for choice in plan.choices for name in choice.groups))
    rows = []
    for name in names:
        groups = (choice.groups.get(name) for choice in plan.choices)
        rows.append((name, tuple(None if group is None else Number(group.mean) for group in groups)))
    return Table("coverage", tuple(f"{choice.clusters:,}" for choice in plan.choices), tuple(rows))


def notes(plan: Plan, price: Price | None) -> list[str]:
    """What the figures of the first table rest on, a line each."""
    lines = []
    if plan.knee is not None:
        lines.append(f"Knee: {plan.choices[plan.knee].clusters:,} clusters, {KNEE_RULE}; it depends on the range.")
    if counted := [choice for choice in plan.choices if choice.rendered < choice.typical]:
        rendered = f"{counted[0].rendered:,} prompts drawn of those of {counted[0].clusters:,} clusters and more"
        lines.append(f"Requests and tokens of {rendered} stand for all of them; the others are exact.")
    else:
        lines.append("Requests and tokens of prompts are exact: every prompt was rendered and counted.")
    if sampled := [choice for choice in plan.choices if choice.sampled]:
        size = f"{sampled[0].sampled:,} users" + " or more" * (len(sampled) > 1)
        lines.append(f"From {sampled[0].clusters:,} clusters on, centroids are those of {size}: coverage is a bit low.")
    lines.append(f"Tokens of a reply: {plan.reply_tokens:.0f}, {plan.reply_source}. Malformed replies come on top.")
    if plan.rate:
        lines.append(f"Time: {plan.rate:,.0f} tokens of prompts and replies a second, {plan.rate_source}.")
    else:
        lines.append("Time: unknown; the store has no earlier run of this LLM. Give --rate in tokens a second.")
    if price:
        lines.append(
            f"Cost: {price.prompts:g} per million tokens of prompts, {price.replies:g} per million of replies."
        )
    return lines


def duration(seconds: float) -> str:
    """In the largest fitting unit, two digits."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.{0 if seconds >= 9.5 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"


def cost(amount: float) -> str:
    """With two decimals, or below 1 with two digits."""
    return f"{amount:,.2f}" if amount >= 0.995 or not amount else f"{amount:.2g}"


def _name(plan: Plan, place: int, choice: Choice) -> str:
    marks = ["recipe"] if choice.clusters == plan.present else []
    marks += ["knee"] if place == plan.knee else []
    return f"{choice.clusters:,}" + (f" ({', '.join(marks)})" if marks else "")
