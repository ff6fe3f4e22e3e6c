"""Whether a model tells the planted interests of a user apart."""

import torch

from eimf.train.loop import Trainer
from tests import world as planted


def separated(trainer: Trainer, users: int) -> float:
    """Share of users whose interests lie, by inner product, nearest to items of *both* of their groups."""
    group = torch.from_numpy(planted.item_groups(planted.prepared(planted.world(users=users)).items))
    backbone, histories = trainer.backbone.eval(), trainer.histories
    near_both = []
    for user in range(users):
        items = histories.item_idx[histories.offsets[user] : histories.offsets[user + 1]][-12:]
        row = torch.from_numpy(items).unsqueeze(0)
        with torch.no_grad():
            interests = backbone.interests(row, torch.tensor([len(items)]))[0]
        nearest = group[1 + (interests @ backbone.item_vectors.T).argmax(dim=1)]
        near_both.append(set(group[row[0]].tolist()) <= set(nearest.tolist()))
    return sum(near_both) / users
