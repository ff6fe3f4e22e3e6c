"""Controls: the same supervision with its meaning taken away (METHOD, "is it the meaning?").

Each keeps the shapes and which clusters are supervised, and replaces the vectors of the interests; how many a cluster
has stays too, but for `shuffled`. That gives each cluster the interests of another, their number with them: their
meaning stays, whose they are is lost.
`random` is unit noise, another for every interest. `cluster` is a code of the cluster, the same for all its interests:
which users belong together stays, and nothing else; a random unit vector, for the text is narrower than there may be
clusters. `titles` is the mean text of what the cluster's typical user had in the prompt's reach: text and cluster stay,
and the LLM is left out.

Shapes: C clusters, M interests of a cluster, S text width.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.semantics.supervision import Supervision

_EVENTS = 2**16


def apply_control(supervision: Supervision, control: str, histories: Histories, seed: int) -> Supervision:
    """The supervision itself (`true`), or one of its controls; `seed` draws them. Raises SettingError where there is
    nothing to shuffle."""
    generator = torch.Generator().manual_seed(seed)
    present, semantics = supervision.present, supervision.semantics
    if control == "shuffled":
        return _shuffled(supervision, generator)
    if control == "random":
        made = F.normalize(torch.randn(semantics.shape, generator=generator), dim=-1)
    elif control == "cluster":
        made = F.normalize(torch.randn(len(semantics), 1, semantics.shape[2], generator=generator), dim=-1)
    elif control == "titles":
        made = _titles(supervision, histories).unsqueeze(1)
    else:
        return supervision
    return replace(supervision, semantics=made * present.unsqueeze(-1))


def can_shuffle(supervision: Supervision) -> bool:
    """True where two clusters have interests."""
    return len(_with_interests(supervision)) > 1


def _with_interests(supervision: Supervision) -> Tensor:
    """The clusters that have interests."""
    return supervision.present.any(dim=1).nonzero()[:, 0]


def _shuffled(supervision: Supervision, generator: torch.Generator) -> Supervision:
    """Each cluster with interests takes those of the next one in a random circle: none keeps its own."""
    rows = _with_interests(supervision)
    if not can_shuffle(supervision):
        found = f"shuffled, but interests are there of {len(rows)} cluster"
        raise SettingError("heads.control", found, "raise cluster.count, or take another control")
    circle = rows[torch.randperm(len(rows), generator=generator)]
    source = torch.arange(len(supervision.present))
    source[circle] = circle.roll(1)
    return replace(supervision, semantics=supervision.semantics[source], present=supervision.present[source])


def _titles(supervision: Supervision, histories: Histories) -> Tensor:
    """Mean text [C, S] of the events of each cluster's typical users, up to the last one that the LLM has read: all of
    them, where a prompt shows the last `prompt.max_titles`."""
    last_read, cluster = supervision.last_read.numpy(), supervision.cluster.numpy()
    users = np.flatnonzero((last_read >= 0) & (cluster >= 0))
    row, event = histories.first_events(users, last_read[users] + 1)
    return mean_texts(supervision, histories.item_idx[event], cluster[users][row], len(supervision.present))


def user_text_vectors(supervision: Supervision, histories: Histories) -> Tensor:
    """Mean text [U, S] of every user's training items."""
    user, event = histories.training_events()
    return mean_texts(supervision, histories.item_idx[event], user, histories.num_users)


def mean_texts(supervision: Supervision, items: np.ndarray, group: np.ndarray, groups: int) -> Tensor:
    """Mean text of the `items` [E] of each `group` [E], as unit vectors [groups, S]; 0 where a group has none."""
    text = supervision.item_text
    total, rows = text.new_zeros(groups, text.shape[1]), torch.from_numpy(group)
    for start in range(0, len(items), _EVENTS):  # never the texts of all events at once
        part = slice(start, start + _EVENTS)
        total.index_add_(0, rows[part], text[items[part] - 1])
    return F.normalize(total, dim=1)
