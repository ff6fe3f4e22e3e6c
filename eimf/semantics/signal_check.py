"""The signal check: how well interests predict what users do next, without any training.

An item's score for a user is the largest cosine between the item's text and the interests of the user's cluster. A
user without training events, as user-split holds them out, is in no cluster; the history of the case then decides which
of the clusters with interests is nearest. The AUC of a target, a validation item, is the probability that it scores
above an item drawn by popularity, ties counted half: .5 if the interests say nothing. As in the rankings, items of the
user's history do not count. A model with item texts has the user's own history already, so each source is also added to
that: history + w source, where w is the best weight for the other half of the users. Our decision; it takes seconds, so
LLMs and prompts can be compared before a training is spent on them. A very large number of targets is sampled. Test
items are not looked at.

Shapes: R sampled targets, V people who have them, n items drawn for each target, C clusters, M interests of a cluster,
S text width, W weights.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from eimf import schema
from eimf.data.histories import Histories
from eimf.semantics.controls import CONTROLS, apply_control, can_shuffle
from eimf.semantics.people import People, people_of
from eimf.semantics.supervision import Supervision
from eimf.statistics import paired_difference

LLM, HISTORY = "llm", "history"
"""Sources in addition to the controls: the LLM's interests, and the mean text of the items in the case's history, which
is what text says without clusters and an LLM. (The controls `random` and `cluster` are not texts, so they are at
chance.)"""

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Weights w that a source may have when it is added to the history."""

MAX_TARGETS = 2**16
"""Most targets sampled: the standard error is then a 256th of their spread."""
_BLOCK = 256


@dataclass(frozen=True)
class SourceAUC:
    """AUC of every sampled target, [R] float64: of a source, and of the user's history with the source added."""

    auc: Tensor
    auc_with_history: Tensor


def check_signal(
    supervision: Supervision, histories: Histories, seed: int, num_negatives: int = 100, max_targets: int = MAX_TARGETS
) -> tuple[Tensor, dict[str, SourceAUC]]:
    """The user of each sampled target [R], at most `max_targets` of those with supervision, and the AUCs by source:
    LLM, each of CONTROLS, HISTORY. `shuffled` is left out if only one cluster has interests. `seed` draws the targets,
    the controls, the items, and the halves of the users."""
    generator = torch.Generator().manual_seed(seed)
    cases = histories.cases[schema.VALID]
    of_case, item_idx = torch.from_numpy(cases.case), torch.from_numpy(cases.item_idx)
    sampled = _has_cluster(supervision, histories)[cases.user_idx[cases.case]].nonzero()[:, 0]
    if len(sampled) > max_targets:
        sampled = sampled[torch.randperm(len(sampled), generator=generator)[:max_targets]].sort().values
    chosen, person = of_case[sampled].unique(return_inverse=True)
    people = people_of(supervision, histories, cases.user_idx[chosen.numpy()], cases.history_end[chosen.numpy()])
    users, target = torch.from_numpy(people.user_idx)[person], item_idx[sampled]
    names = [LLM, *(name for name in CONTROLS if name != "shuffled" or can_shuffle(supervision))]
    if not len(users):
        empty = torch.zeros(0, dtype=torch.float64)
        return users, {name: SourceAUC(empty, empty) for name in (*names, HISTORY)}
    popularity = torch.from_numpy(histories.frequency()).double()
    negatives = torch.multinomial(popularity, len(users) * num_negatives, replacement=True, generator=generator) + 1
    candidates = torch.cat([target.unsqueeze(1), negatives.view(-1, num_negatives)], dim=1)  # [R, 1 + n]
    sources = [_of_people(apply_control(supervision, name, histories, seed), people) for name in names]
    sources.append(_history_source(supervision, people))
    distinct, number = users.unique(return_inverse=True)
    half = (torch.randperm(len(distinct), generator=generator) < len(distinct) // 2)[number]
    blocks = zip(person.split(_BLOCK), candidates.split(_BLOCK), strict=True)
    # [sources - 1, R, W] and [sources, R]: the scores themselves are held for one block of targets only.
    auc_by_weight, auc = (
        torch.cat(parts, dim=1)
        for parts in zip(*(_block_aucs(sources, histories, people, *block) for block in blocks), strict=True)
    )
    auc_by_source = {
        name: SourceAUC(auc[number], _at_best_weight(auc_by_weight[number], half)) for number, name in enumerate(names)
    }
    return users, {**auc_by_source, HISTORY: SourceAUC(auc[-1], auc[-1])}


def mean_by_user(auc_by_source: dict[str, SourceAUC], users: Tensor) -> dict[str, SourceAUC]:
    """The mean over the targets of each user, for targets of `users` [R]: a user's targets are not independent, and
    under some protocols there are many."""
    _, row, count = users.unique(return_inverse=True, return_counts=True)

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(len(count)).index_add(0, row, values) / count

    return {name: SourceAUC(mean(part.auc), mean(part.auc_with_history)) for name, part in auc_by_source.items()}


def signal_gain(auc_by_source: dict[str, SourceAUC], source: str = LLM) -> tuple[float, float]:
    """What a source adds to the AUC of the history, from AUCs of users: the mean, and its standard error; no gain if
    there are fewer than two."""
    history, with_source = auc_by_source[HISTORY].auc, auc_by_source[source].auc_with_history
    if len(history) < 2:
        return 0.0, 0.0
    gain = paired_difference(history, with_source)
    return gain.value, gain.error


def auc_table(auc_by_source: dict[str, SourceAUC], users: Tensor) -> pa.Table:
    """The AUCs of the targets of `users` [R] as `schema.SOURCE_AUC`."""
    sources = auc_by_source.values()
    return pa.table(
        {
            schema.SOURCE: np.repeat(list(auc_by_source), len(users)),
            schema.USER: np.tile(users.numpy(), len(auc_by_source)),
            schema.AUC: torch.cat([source.auc for source in sources]).numpy(),
            schema.AUC_WITH_HISTORY: torch.cat([source.auc_with_history for source in sources]).numpy(),
        },
        schema=schema.SOURCE_AUC,
    )


def read_auc_table(table: pa.Table) -> tuple[Tensor, dict[str, SourceAUC]]:
    """The users of the targets and the AUCs by source that `auc_table` has written."""
    source = table[schema.SOURCE].to_numpy()
    columns = [table[name].to_numpy() for name in (schema.AUC, schema.AUC_WITH_HISTORY)]
    names = dict.fromkeys(source.tolist())
    users = torch.from_numpy(table[schema.USER].to_numpy()[source == next(iter(names), LLM)])
    return users, {name: SourceAUC(*(torch.from_numpy(column[source == name]) for column in columns)) for name in names}


def _block_aucs(
    sources: list[Supervision], histories: Histories, people: People, person: Tensor, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """AUCs of a block of targets, each of a `person` [.] and with candidates [., 1 + n]: of the last source, the
    history, plus each of WEIGHTS times every other one, [sources - 1, ., W]; and of every source by itself,
    [sources, .]."""
    counted = ~_not_counted(histories, people, person, candidates)
    text = sources[-1].item_text_vectors[candidates - 1]  # [., 1 + n, S]
    *scores, history = (_scores(text, source, person) for source in sources)
    by_weight = [
        torch.stack([_auc(history + weight * score, counted) for weight in WEIGHTS], dim=1) for score in scores
    ]
    return torch.stack(by_weight), torch.stack([_auc(score, counted) for score in (*scores, history)])


def _not_counted(histories: Histories, people: People, person: Tensor, candidates: Tensor) -> Tensor:
    """Which of each target's candidates [., 1 + n] are not negatives: the target itself, and items of the history."""
    row, event = histories.first_events(people.user_idx[person.numpy()], people.history_end[person.numpy()])
    num_codes = histories.num_items + 1
    history_codes = torch.from_numpy(row * num_codes + histories.item_idx[event])
    candidate_codes = torch.arange(len(person)).unsqueeze(1) * num_codes + candidates
    return torch.isin(candidate_codes, history_codes) | (candidates == candidates[:, :1])


def _at_best_weight(auc_by_weight: Tensor, half: Tensor) -> Tensor:
    """Of AUCs [R, W], each one at the weight that is best for the users of the other `half`: [R]."""
    best = [auc_by_weight[~half].mean(dim=0).argmax(), auc_by_weight[half].mean(dim=0).argmax()]
    return torch.where(half, auc_by_weight[:, best[0]], auc_by_weight[:, best[1]])


def _has_cluster(supervision: Supervision, histories: Histories) -> Tensor:
    """Whether each user has interests, [U] bool: those of the cluster, or of one that `people_of` finds."""
    is_new = torch.from_numpy(histories.num_train == 0) & bool((supervision.cluster >= 0).any())
    return (supervision.cluster >= 0) | is_new


def _of_people(supervision: Supervision, people: People) -> Supervision:
    """The supervision with people in the place of its users."""
    return replace(supervision, cluster=people.cluster)


def _history_source(supervision: Supervision, people: People) -> Supervision:
    """Every person is a cluster with one interest: the mean text of the history."""
    numbers = torch.arange(len(people.texts))
    interests = people.texts.unsqueeze(1)
    return replace(supervision, interest_vectors=interests, interest_id=numbers.unsqueeze(1), cluster=numbers)


def _scores(text: Tensor, source: Supervision, person: Tensor) -> Tensor:
    """Scores of the candidates of each `person` [.] with texts [., 1 + n, S]: [., 1 + n]."""
    cluster = source.cluster[person]
    cosines = text @ source.interest_vectors[cluster].mT  # [., 1 + n, M]
    return cosines.masked_fill(~source.interest_mask[cluster].unsqueeze(1), -torch.inf).amax(dim=2)


def _auc(scores: Tensor, counted: Tensor) -> Tensor:
    """The share of the negatives `counted` [R, 1 + n] that the first candidate's score is above, of scores [R, 1 + n];
    .5 if there is none: [R]."""
    positive, negatives, counted = scores[:, :1], scores[:, 1:], counted[:, 1:]
    above = (positive > negatives).double() + (positive == negatives).double() / 2
    return torch.where(counted.any(dim=1), (above * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1), 0.5)
