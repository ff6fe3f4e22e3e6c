"""What an ESIM artifact says about what its users do next, found without any training.

An item's score for a user is the largest cosine between the item's text and the interests of the user's cluster. The
AUC of a user is how often the validation item scores above an item drawn by popularity, ties counted half: .5 where the
interests say nothing. Our decision; it takes seconds, so LLMs and prompts can be compared before a training is spent on
them. The test item is not looked at.

Shapes: U users under supervision, n items drawn for a user, C clusters, M interests of a cluster, S text width.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from eimf.train.controls import derive, mean_texts
from eimf.train.sequences import Histories
from eimf.train.supervision import Supervision

CONTROLS = ("shuffled", "random", "titles")
"""Those of `derive` that have a place in text space."""
HISTORY = "history"
"""The mean text of the user's own training items: what text says without clusters and without an LLM."""

_BLOCK = 256


def probe(supervision: Supervision, histories: Histories, seed: int, drawn: int = 100) -> dict[str, Tensor]:
    """AUC of every supervised user [U] float64, by source: `true`, each of CONTROLS, HISTORY. `seed` draws the
    controls and the items."""
    users = (supervision.cluster >= 0).nonzero()[:, 0]
    target = torch.from_numpy(histories.items[histories.offsets[:-1] + histories.trained])[users]
    frequency = torch.from_numpy(histories.frequency()).double()
    generator = torch.Generator().manual_seed(seed)
    others = torch.multinomial(frequency, len(users) * drawn, replacement=True, generator=generator) + 1
    candidates = torch.cat([target.unsqueeze(1), others.view(-1, drawn)], dim=1)  # [U, 1 + n]
    sources = {name: derive(supervision, name, histories, seed) for name in ("true", *CONTROLS)}
    sources[HISTORY] = _own_texts(supervision, histories)
    return {
        name: torch.cat(
            [_auc(source, part, of) for part, of in zip(users.split(_BLOCK), candidates.split(_BLOCK), strict=True)]
        )
        for name, source in sources.items()
    }


def _own_texts(supervision: Supervision, histories: Histories) -> Supervision:
    """Every user a cluster of its own, with one interest: the mean text of its training items."""
    owner, event = histories.first_events(np.arange(histories.users), histories.trained)
    return replace(
        supervision,
        semantics=mean_texts(supervision, histories.items[event], owner, histories.users).unsqueeze(1),
        present=torch.ones(histories.users, 1, dtype=torch.bool),
        cluster=torch.arange(histories.users),
    )


def _auc(supervision: Supervision, users: Tensor, candidates: Tensor) -> Tensor:
    """Of some users and their candidates [., 1 + n], the validation item first."""
    cluster = supervision.cluster[users]
    cosines = supervision.item_text[candidates - 1] @ supervision.semantics[cluster].mT  # [., 1 + n, M]
    scores = cosines.masked_fill(~supervision.present[cluster].unsqueeze(1), -torch.inf).amax(dim=2)
    own, other = scores[:, :1], scores[:, 1:]
    return ((own > other).double() + (own == other).double() / 2).mean(dim=1)
