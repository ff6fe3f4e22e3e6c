"""A planted world in which the interests know more than the histories."""

import numpy as np
import torch
from torch.nn import functional as F

from eimf.data.histories import Histories
from eimf.semantics.supervision import Supervision
from tests.world import leave_one_out

TOPICS, ITEMS_EACH, USERS, LENGTH, TEXT = 8, 20, 400, 6, 32


def planted_meaning() -> tuple[Supervision, Histories]:
    """Users of topic c start in topic c + 1 and end in topic c; the interest of cluster c is topic c: an LLM that
    predicts what no training event shows."""
    rng = np.random.default_rng(0)
    topic = np.arange(USERS) % TOPICS
    place = np.broadcast_to(np.arange(LENGTH) < LENGTH - 2, (USERS, LENGTH))
    items = (topic[:, None] + place) % TOPICS * ITEMS_EACH + rng.integers(1, ITEMS_EACH + 1, (USERS, LENGTH))
    centres = F.normalize(torch.randn(TOPICS, TEXT, generator=torch.Generator().manual_seed(1)), dim=1)
    noise = torch.randn(TOPICS * ITEMS_EACH, TEXT, generator=torch.Generator().manual_seed(2)) * 0.05
    supervision = Supervision(
        item_text_vectors=F.normalize(centres.repeat_interleave(ITEMS_EACH, dim=0) + noise, dim=1),
        interest_vectors=centres.unsqueeze(1),
        interest_id=torch.arange(TOPICS).unsqueeze(1),
        cluster=torch.from_numpy(topic.copy()),
        last_prompted_position=torch.where(torch.arange(USERS) < TOPICS, LENGTH - 3, -1),
    )
    offsets = np.arange(0, USERS * LENGTH + 1, LENGTH)
    return supervision, leave_one_out(items.ravel(), offsets, TOPICS * ITEMS_EACH)
