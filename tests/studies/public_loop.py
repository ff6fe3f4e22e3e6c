"""The metrics of the public evaluation loop of ComiRec and REMI, beside ours, on the same ranked lists:

    python -m tests.studies.public_loop STORE CHECKPOINT...

Written from what that loop does: it puts a user's best k items into a set, walks the set, and takes an item's place in
that walk for its rank; the ideal list of its NDCG has as many items as there are hits. Its items are numbered by how
often they occur, which decides the order of the walk. Prints a row for each cut-off: recall, hit rate and NDCG, each as
ours and as theirs.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.evaluation.eval_batches import eval_batches
from eimf.metrics import per_case
from eimf.retrieval import rank
from eimf.store.artifact import Store
from pipeline.serving import load_backbone
from pipeline.stages.load import histories_of

CUTOFFS = (20, 50)


def loop_metrics(ranked: list[list[int]], relevant: list[list[int]]) -> dict[str, float]:
    """The public loop over users with their best items and their relevant entries, both numbered as it does."""
    recall = hits = ndcg = 0.0
    for best, entries in zip(ranked, relevant, strict=True):
        walk = set[int]()
        for item in best:
            walk.add(item)
        places = [place for place, item in enumerate(walk) if item in entries]
        recall += len(places) / len(entries)
        if places:
            hits += 1
            gained = sum(1 / math.log2(place + 2) for place in places)
            ndcg += gained / sum(1 / math.log2(place + 2) for place in range(len(places)))
    return {"recall": recall / len(ranked), "hit_rate": hits / len(ranked), "ndcg": ndcg / len(ranked)}


@torch.no_grad()
def ranked_lists(store: Store, key: str) -> tuple[EvalCases, np.ndarray, np.ndarray, np.ndarray]:
    """The test cases of a checkpoint, the ranks of their relevant items, their best items, [C, 50], and the numbers
    that the public loop would give the items, by item_idx. Seen items are kept."""
    checkpoint = store.get("checkpoint", key)
    histories = histories_of({"dataset": store.parent(checkpoint, "dataset")})
    trained, backbone = load_backbone(checkpoint, histories.num_items)
    cases = histories.cases[schema.TEST]
    best, ranks = np.zeros((len(cases), max(CUTOFFS)), np.int64), np.zeros(len(cases.item_idx), np.int64)
    encode = backbone.eval().inference_fn(len(cases))
    for batch in eval_batches(histories, cases, trained.model.max_length, 256, 6400):
        interests = encode(batch.item_idx, batch.lengths, None)
        result = rank(
            interests, backbone.item_vectors, batch.relevant_item_idx, None, query=batch.case_row, top=max(CUTOFFS)
        )
        best[batch.case], ranks[batch.relevant] = result.top_item_idx, result.rank
    counts = np.bincount(histories.item_idx, minlength=histories.num_items + 1)[1:]
    numbers = np.zeros(histories.num_items + 1, np.int64)
    numbers[1 + np.argsort(-counts, kind="stable")] = np.arange(1, histories.num_items + 1)
    return cases, ranks, best, numbers


def show(store: Store, key: str) -> None:
    cases, ranks, best, numbers = ranked_lists(store, key)
    relevant = [part.tolist() for part in np.split(numbers[cases.item_idx], cases.offsets[1:-1])]
    case, tensor = torch.from_numpy(cases.case), torch.from_numpy(ranks)
    print(f"{key[:12]}: {len(cases)} users")
    for k in CUTOFFS:
        theirs = loop_metrics(numbers[best[:, :k]].tolist(), relevant)
        ours = {name: float(per_case(name, tensor, case, len(cases), k).mean()) for name in theirs}
        print(f"  @{k}: " + ", ".join(f"{name} {ours[name]:.4f} / {theirs[name]:.4f}" for name in theirs))


if __name__ == "__main__":
    for checkpoint_key in sys.argv[2:]:
        show(Store(Path(sys.argv[1])), checkpoint_key)
