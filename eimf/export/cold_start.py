"""Fit cold start: how much names, recency and a few events count (`eimf.serving.cold_start`).

The weights are those of a conditional logit over the catalogue, fitted on validation events of simulated people
(`eimf.export.simulated`), separately for 0, 1, 2, 3 and more events before the target. Test events are not looked at.
Everything that the parts of the score are counted from ends one event earlier than in the bundle, so that a validation
event is to them what a next event is to the bundle.
A mix must earn its place: it is kept only if it ranks better than what the same people get if they pick nothing, by
more than one standard error of the difference in NDCG@10, paired over people. Each half of the people is ranked by
weights that were fitted on the other half. Who picks nothing gets the history alone or, without a history, what is
fitted without names, which has to beat recent popularity in the same way.

Shapes: U users, C cases, N items, D width, K interests, L labels, F width of the text space.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eimf import schema
from eimf.choice.item_statistics import item_scores
from eimf.choice.logit import fit_logit, ndcg_of, ranks
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges
from eimf.export.cold_start_design import Design, Model
from eimf.export.menu import menu_order
from eimf.export.phrases import Phrases
from eimf.export.simulated import HALF, Cases, cut_cases, mean_texts, pick_names
from eimf.export.text_space import text_space
from eimf.export.user_means import FOLDS, MENUS, PickedNames
from eimf.serving.cold_start import ColdStartPart, ColdStartWeights
from eimf.vectors import normalize

EVENTS = (0, 1, 2, 3, HALF)
"""Events before the target for which there are weights."""
_MAX_USERS, _MAX_SCORES = 1 << 15, 1 << 26
_FEWEST = 50
"""Cases that weights are fitted on, at least."""


@dataclass(frozen=True)
class Texts:
    """Texts in the space in which they are compared: `items` [N, F] and `labels` [L, F], unit vectors; `menu` are
    label numbers in their order."""

    items: np.ndarray
    labels: np.ndarray
    menu: Sequence[int]


@dataclass(frozen=True)
class BuiltColdStart:
    """What a bundle holds for people of whom little is known, as `eimf.serving.cold_start.ColdStart` takes it;
    `figures` have, for each number of events and for "unnamed", NDCG@10 on validation events: of the `start`, which
    people get without names, and of what was `fitted`, or of the start again if that was not clearly better."""

    weights: ColdStartPart
    item_scores: np.ndarray
    user_means: np.ndarray
    figures: dict[str, dict[str, float]]


def build_cold_start(model: Model, texts: Texts | None) -> BuiltColdStart:
    """For a trained model; `texts` decide what people pick, None if there are no labels. Without enough validation
    events nothing is fitted: then recent popularity answers people without a history, and the model all others."""
    histories = model.histories
    texts = texts or Texts(np.zeros((histories.num_items, 1), np.float32), np.zeros((0, 1), np.float32), [])
    earlier = replace(model, histories=one_step_earlier(histories))
    items, picked = item_scores(earlier.histories), picked_names(earlier, texts)
    folds = picked.fold_tables()
    unnamed, named, figures = ColdStartWeights(recent=1.0), [], {}
    for shown in EVENTS:
        start = ColdStartWeights(recent=1.0) if shown == 0 else ColdStartWeights(history=1.0)
        cases = _sampled(earlier.histories, shown)
        if len(cases) < _FEWEST:
            named.append(start)
            continue
        names = _names_of(cases, folds, texts) if len(texts.menu) else None  # a case's own user is not in its names
        design = Design(earlier, items, picked.average, cases, names)
        if shown == 0:
            unnamed, figures["unnamed"] = fit_weights(design, start, names=False)
            start = unnamed
        weights, figures[str(shown)] = fit_weights(design, start)
        named.append(weights)
    part = ColdStartPart(unnamed=unnamed, named=tuple(named))
    return BuiltColdStart(part, item_scores(histories), picked_names(model, texts).table(), figures)


def one_step_earlier(histories: Histories) -> Histories:
    """The histories without each user's last training event, which is still there to be shown. After leave-one-out,
    their validation events lie as far behind the training events as the test events do in `histories`; under the other
    protocols the validation comes after, or is of other users, as it is."""
    cases = {split: cases for split, cases in histories.cases.items() if split == schema.VALID}
    return replace(histories, num_train=np.maximum(histories.num_train - 1, 0), cases=cases)


def texts_of(
    histories: Histories, item_texts: np.ndarray, phrases: Phrases, interest_ids: Sequence[Sequence[int]]
) -> Texts:
    """The texts of the items, from their vectors [N, S], and of labels, each of the `phrases` whose ids are its
    `interest_ids` [L]; with the labels' menu."""
    space = text_space(item_texts)
    row_of = {interest_id: row for row, interest_id in enumerate(phrases.interest_ids.tolist())}
    means = [phrases.vectors[[row_of[interest_id] for interest_id in ids]].mean(axis=0) for ids in interest_ids]
    labels = normalize(np.stack(means)) if means else np.zeros((0, item_texts.shape[1]), np.float32)
    items, names = space(item_texts), space(labels)
    people = people_of(histories, _training_users(histories), items)
    return Texts(items, names, menu_order(names @ names.T, people, names))


def picked_names(model: Model, texts: Texts) -> PickedNames:
    """What the training users would pick; a sample of them if there are many."""
    histories = model.histories
    users = _training_users(histories)
    begin, length = histories.offsets[users], histories.num_train[users]
    vectors = model.interests(begin, length).mean(axis=1)
    if model.has_bias:  # what all people share is counted by recency and popularity, which have weights of their own
        vectors[:, -1] = 0
    people = people_of(histories, users, texts.items)
    return PickedNames(users, vectors, people, texts.labels, texts.menu)


def _training_users(histories: Histories) -> np.ndarray:
    """user_idx of the users with training events; a sample if there are many."""
    users = np.flatnonzero(histories.num_train > 0)
    return users[:: max(1, -(-len(users) // _MAX_USERS))]


def people_of(histories: Histories, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The mean texts [U, F] of the training histories of some `users`, from those of the `items` [N, F]."""
    row, event = flat_ranges(histories.offsets[users], histories.num_train[users])
    return mean_texts(histories.item_idx[event], row, len(users), items)


def fit_weights(
    design: Design, start: ColdStartWeights, *, names: bool = True
) -> tuple[ColdStartWeights, dict[str, float]]:
    """The weights for the cases of a design, from the choice of parts that ranks best, or `start` if none ranks better
    by more than one standard error (as above); and the mean NDCG@10 of `start` and of what is returned."""
    scale, everyone = design.scale(), np.arange(len(design.cases))
    before = ndcg_of(ranks(design.blocks(everyone), _as_array(start)))
    best, after = start, before.mean()
    for free in design.choices(names=names):
        weights = fit_logit(design.blocks(everyone, scale), free)
        judged = _cross_fitted(design, scale, free, weights)
        if _is_better(judged, before) and judged.mean() > after:
            best, after = _rounded(weights / scale), judged.mean()
    return best, {"start": float(before.mean()), "fitted": float(after)}


def _cross_fitted(design: Design, scale: np.ndarray, free: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """NDCG@10 of each case with weights that were fitted on the other half of the cases, [C]."""
    ndcg = np.empty(len(design.cases))
    halves = np.arange(len(ndcg))[::2], np.arange(len(ndcg))[1::2]
    for half, other in (halves, halves[::-1]):
        weights = fit_logit(design.blocks(half, scale), free, begin=begin)
        ndcg[other] = ndcg_of(ranks(design.blocks(other, scale), weights))
    return ndcg


def _is_better(values: np.ndarray, reference: np.ndarray) -> bool:
    """Whether the mean of `values` [C] is above that of the `reference` [C] by more than one standard error of their
    paired difference."""
    difference = values - reference
    return bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))


def _rounded(weights: np.ndarray) -> ColdStartWeights:
    values = [float(f"{weight:.6g}") for weight in weights.tolist()]
    return ColdStartWeights(**dict(zip(ColdStartWeights.model_fields, values, strict=True)))


def _sampled(histories: Histories, shown: int) -> Cases:
    """The validation cases; a sample of them if the catalogue is large."""
    return cut_cases(histories, schema.VALID, shown, max_scores=_MAX_SCORES)


def _names_of(cases: Cases, folds: Sequence[np.ndarray], texts: Texts) -> np.ndarray:
    """The mean vector [C, D] of the names that each case picks; 0 without any. By turns they pick one, two and three
    names, out of menus of each length."""
    people = mean_texts(cases.hidden_item_idx, cases.hidden_case, len(cases), texts.items)
    vectors = np.zeros((len(cases), folds[0].shape[1]))
    turn, fold = np.arange(len(cases)), cases.user_idx % FOLDS
    for number, length in enumerate(MENUS):
        for count in (1, 2, 3):
            for part, table in enumerate(folds):
                rows = np.flatnonzero((turn % 3 == count - 1) & (turn // 3 % len(MENUS) == number) & (fold == part))
                picks = pick_names(people[rows], texts.labels, np.array(texts.menu[:length]), count)
                vectors[rows] = np.where(picks[:, :1] >= 0, table[picks].mean(axis=1), 0)
    return vectors


def _as_array(weights: ColdStartWeights) -> np.ndarray:
    return np.array(list(weights.model_dump().values()))
