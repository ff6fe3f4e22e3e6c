"""Cards of typical users: what the LLM read of each, what it wrote, and what that is grounded in.

Ids of users are left out: the page may be forwarded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from eimf import schema
from pipeline.report.card.described import count, cut
from pipeline.report.html.document import Section
from pipeline.report.html.stage_one import StageOne
from pipeline.report.markup import Markup, join, tag

_KINDS = ("dataset", "clusters", "requests", "interests")
_MOST_CARDS = 48
"""Of all datasets together."""
_FOLDED, _LONGEST, _LONGEST_TITLE = 320, 6000, 110
"""Characters of a text from which on it folds, and is cut; and of the title of an item."""


@dataclass(frozen=True)
class GroundedInterest:
    """An interest, the items that the LLM names for it (number in the prompt, title), and its grounding; None without
    such items."""

    text: str
    evidence: tuple[tuple[int, str], ...]
    grounding: float | None


@dataclass(frozen=True)
class TypicalUser:
    """One typical user. `reason`: why this card is shown. `prompt`: the part of it that is about this user; `status`
    and `fault` are those of the last reply."""

    reason: str
    cluster: int
    stands_for: int
    history: tuple[str, ...]
    prompt: str
    reply: str
    status: str
    fault: str
    tokens: tuple[int, int]
    interests: tuple[GroundedInterest, ...]


@dataclass(frozen=True)
class TypicalUsers:
    """The cards of a dataset. `shared`: how all of its prompts begin. `asked`, `unusable`, `cut_off`: numbers of
    replies. `grounding`, `shuffled`: the mean over all interests, and that with another user's items."""

    name: str
    shared: str
    asked: int
    unusable: int
    cut_off: int
    grounding: float
    shuffled: float
    cards: tuple[TypicalUser, ...]


def typical_section(stages: Sequence[StageOne]) -> Section | None:
    """Cards of each dataset; None if the store has what the LLM wrote for none of them."""
    told = [stage for stage in stages if stage.has(*_KINDS)]
    cards = [part for stage in told if (part := collect_typical(stage, max(6, _MOST_CARDS // len(told)))).cards]
    if not cards:
        return None
    return Section("typical-users", "Typical users: what the LLM read and wrote", join(*map(_dataset, cards)))


def collect_typical(stage: StageOne, most: int = _MOST_CARDS) -> TypicalUsers:
    """At most so many cards of a dataset. First those whose reply has a fault, then the largest clusters, and then the
    users whose interests are grounded worst and best."""
    requests = stage.artifacts["requests"].table("requests").to_pylist()
    replies = stage.artifacts["interests"].table("replies").to_pylist()
    by_user = _interests_by_user(stage)
    cluster = stage.artifacts["clusters"].table("clusters", [schema.CLUSTER])[schema.CLUSTER].to_numpy()
    sizes = np.bincount(cluster[cluster >= 0])
    stands_for = [int(sizes[cluster[row[schema.USER]]]) for row in requests]
    grounding = [_mean_grounding(by_user.get(row[schema.USER], ())) for row in requests]
    status = [reply[schema.STATUS] for reply in replies]
    titles = schema.display_names(stage.artifacts["dataset"].table("items", [schema.TITLE, schema.METADATA]))
    shared = _shared_beginning([row[schema.PROMPT] for row in requests])
    cards = []
    for row, reason in _choice(status, stands_for, grounding, most):
        request, reply = requests[row], replies[row]
        numbered = {item: number for number, item in enumerate(request[schema.HISTORY], 1)}
        named = [
            GroundedInterest(
                interest[schema.INTEREST],
                tuple((numbered.get(item, 0), _title(titles, item)) for item in interest[schema.EVIDENCE]),
                interest[schema.GROUNDING],
            )
            for interest in by_user.get(request[schema.USER], ())
        ]
        cards.append(
            TypicalUser(
                reason,
                int(cluster[request[schema.USER]]),
                stands_for[row],
                tuple(_title(titles, item) for item in request[schema.HISTORY]),
                request[schema.PROMPT][len(shared) :],
                reply[schema.REPLY],
                reply[schema.STATUS],
                reply[schema.REASON] or "",
                (reply[schema.PROMPT_TOKENS], reply[schema.REPLY_TOKENS]),
                tuple(named),
            )
        )
    summary = stage.esim.manifest.summary
    means = [float(summary.get(name, np.nan)) for name in ("grounding", "shuffled")]
    faults = status.count("malformed"), status.count("truncated")
    return TypicalUsers(stage.name, shared, len(requests), *faults, means[0], means[1], tuple(cards))


def _title(titles: Sequence[str | None], item_idx: int) -> str:
    return titles[item_idx - 1] or f"item {item_idx}"


def _interests_by_user(stage: StageOne) -> dict[int, list[dict[str, Any]]]:
    """The rows of `schema.INTERESTS` by user, with the grounding of each."""
    rows = stage.artifacts["interests"].table("interests").to_pylist()
    columns = stage.esim.table("interests")
    grounding: Mapping[int, float | None] = {}
    if schema.GROUNDING in columns.column_names:
        pairs = (columns[name].to_pylist() for name in (schema.INTEREST_ID, schema.GROUNDING))
        grounding = dict(zip(*pairs, strict=True))
    by_user: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        row[schema.GROUNDING] = grounding.get(row[schema.INTEREST_ID])
        by_user.setdefault(row[schema.USER], []).append(row)
    return by_user


def _mean_grounding(interests: Sequence[Mapping[str, Any]]) -> float:
    """Of those with evidence; NaN if there are none."""
    known = [row[schema.GROUNDING] for row in interests if row[schema.GROUNDING] is not None]
    return float(np.mean(known)) if known else np.nan


def _shared_beginning(prompts: Sequence[str]) -> str:
    """How all prompts begin, up to the end of a line."""
    if len(prompts) < 2:
        return ""
    lines = zip(*(prompt.splitlines(keepends=True) for prompt in prompts), strict=False)
    return "".join(same[0] for same in takewhile(lambda same: len(set(same)) == 1, lines))


def _choice(
    status: Sequence[str], stands_for: Sequence[int], grounding: Sequence[float], most: int
) -> Iterator[tuple[int, str]]:
    """Rows of requests in the order of their cards, and why each is shown; no row twice. A fault and the two ends of
    grounding are the reason for a quarter of the cards each at most."""
    quarter = max(1, most // 4)
    faulty = [row for row, word in enumerate(status) if word != "ok"][:quarter]
    by_size = sorted(range(len(stands_for)), key=lambda row: -stands_for[row])
    grounded = sorted((row for row, mean in enumerate(grounding) if not np.isnan(mean)), key=grounding.__getitem__)
    chosen: dict[int, str] = {}
    for reason, rows, number in (
        ("reply with a fault", faulty, quarter),
        ("large cluster", by_size, most - 2 * quarter - len(faulty)),
        ("grounded least", grounded, quarter),
        ("grounded best", grounded[::-1], quarter),
    ):
        chosen.update(dict.fromkeys([row for row in rows if row not in chosen][:number], reason))
    yield from chosen.items()


def _dataset(of: TypicalUsers) -> Markup:
    about = (
        f"{count(of.asked)} typical users stand for all: {count(of.unusable)} replies were unusable, "
        f"{count(of.cut_off)} broke off. Grounding is the cosine of an interest's text and the items that the LLM "
        f"names for it: {_decimals(of.grounding)} on average, {_decimals(of.shuffled)} with the items of another user."
    )
    shared = tag("details", tag("summary", "How every prompt begins"), tag("pre", _cut(of.shared))) if of.shared else ""
    return tag(
        "div",
        tag("h3", tag("bdi", of.name)),
        tag("p", about),
        shared,
        tag("div", *map(_card, of.cards), class_="user-cards", data_filter="Find in these cards", data_name=of.name),
    )


def _decimals(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no minus before zero


def _card(user: TypicalUser) -> Markup:
    interests = [tag("bdi", interest.text, class_="interest") for interest in user.interests]
    head = tag(
        "summary",
        tag("span", user.reason, class_="reason"),
        tag("span", *(interests or [Markup("no interest")]), class_="interests"),
        tag(
            "span", f"stands for {count(user.stands_for)} {'user' if user.stands_for == 1 else 'users'}", class_="aside"
        ),
    )
    history = tag("ol", *(tag("li", tag("bdi", cut(title, _LONGEST_TITLE))) for title in user.history))
    prompt_tokens, reply_tokens = user.tokens
    fault = tag("p", tag("b", f"{user.status.capitalize()}: "), user.fault or "no reason given") if user.fault else ""
    return tag(
        "details",
        head,
        tag(
            "div",
            tag("div", tag("h4", "Interests and their evidence"), _interest_list(user)),
            tag("div", tag("h4", f"History, {count(len(user.history))} titles"), history),
            class_="columns",
        ),
        fault,
        _text(f"The prompt's part about this user ({count(prompt_tokens)} tokens in all)", user.prompt),
        _text(f"Reply ({count(reply_tokens)} tokens)", user.reply),
        class_="user-card",
    )


def _interest_list(user: TypicalUser) -> Markup:
    if not user.interests:
        return tag("p", "None that could be used.")
    return tag("ul", *(tag("li", *_described(interest)) for interest in user.interests), class_="evidence")


def _described(interest: GroundedInterest) -> Iterator[Markup]:
    yield tag("b", tag("bdi", interest.text))
    if interest.grounding is not None:
        yield tag("span", f" grounding {interest.grounding:.2f}", class_="aside")
    named = [
        tag("li", f"{number or '?'}. ", tag("bdi", cut(title, _LONGEST_TITLE))) for number, title in interest.evidence
    ]
    yield tag("ul", *named) if named else tag("p", "No item is named for it.")


def _text(title: str, text: str) -> Markup:
    """What was sent or written, as it is; a long one is folded."""
    shown = tag("pre", _cut(text))
    if len(text) > _FOLDED:
        return tag("details", tag("summary", title), shown)
    return join(tag("h4", title), shown)


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    left_out = f"\n[{count(len(text) - _LONGEST)} of {count(len(text))} characters are left out]"
    return f"{text[:_LONGEST]}{left_out}"
