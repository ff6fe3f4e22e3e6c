"""In which space users cluster best: raw user vectors, centred, or whitened.

    python tests/studies/cluster_space.py artifacts ...     stores with one dataset each, stage one finished up to row 3

Is the validation item's text nearer to the user's own cluster than to that of a random other user? There are three
judges, whatever space is clustered: item texts raw, centred, and whitened (128 components). `cluster` takes the mean of
the members for the cluster, without the user in question; `typical` takes its typical user, and asks only about other
users. The same number of clusters (4 % of the users) and the same three seeds in every space.

Shapes: U users, N items, C clusters, S text width.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eimf import schema
from eimf.esim.cluster import Clusters, cluster_count, cluster_users
from eimf.esim.typical import Population, typical_users
from eimf.store.artifact import Store
from eimf.vectors import normalize
from pipeline.stages.load import histories_of

SEEDS = (1, 2, 3)
Map = Callable[[np.ndarray], np.ndarray]


def centring(vectors: np.ndarray) -> Map:
    mean = vectors.mean(axis=0)
    return lambda rows: rows - mean


def whitening(vectors: np.ndarray, components: int) -> Map:
    """The first principal components, each with variance 1."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    values, directions = np.linalg.eigh(np.cov(vectors.T, bias=True))
    scaled = directions[:, ::-1][:, :components] / np.sqrt(values[::-1][:components])
    return lambda rows: ((rows - mean) @ scaled).astype(np.float32)


def user_means(items: np.ndarray, offsets: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Mean vector of each user's training items [U, S]."""
    return np.add.reduceat(vectors[items - 1], offsets[:-1]) / np.diff(offsets)[:, None].astype(np.float32)


def share_nearer(own: np.ndarray, cosine: np.ndarray, cluster: np.ndarray, users: np.ndarray) -> float:
    """Mean over `users` of the share of users in other clusters whose cluster is farther; a tie counts half. `own` [U]
    and `cosine` [U, C] are cosines of the validation item."""
    sizes, own = np.bincount(cluster), own[:, None]
    farther = (cosine < own) + 0.5 * (cosine == own)
    farther[np.arange(len(cluster)), cluster] = 0
    return float(((farther @ sizes) / (len(cluster) - sizes[cluster]))[users].mean())


def judge(clusters: Clusters, history: np.ndarray, users: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Shares by `cluster` and by `typical`, in the space of `users` [U, S] and `targets` [U, S], unit vectors."""
    cluster, row = clusters.cluster, np.arange(len(users))
    sums = np.zeros((len(clusters.centroids), users.shape[1]))
    np.add.at(sums, cluster, users)
    others = (targets * normalize(sums[cluster] - users)).sum(axis=1)
    company = np.flatnonzero(
        np.bincount(cluster)[cluster] > 1
    )  # without the user nothing is left of the other clusters
    by_cluster = share_nearer(others, targets @ normalize(sums).T, cluster, company)
    typical = typical_users(Population(cluster, clusters.similarity, history), min_history=3)[schema.USER].to_numpy()
    cosine = targets @ users[typical].T
    return by_cluster, share_nearer(cosine[row, cluster], cosine, cluster, np.setdiff1d(row, typical))


def measure(store: Store) -> None:
    """Print a line for each space."""
    artifacts = {kind: store.get(kind, key) for kind, key in store.listing()}
    histories = histories_of(artifacts)
    train, target = histories.training(), histories.cases[schema.VALID].item_idx  # leave-one-out: one for each user
    text = schema.vectors_of(artifacts["item_vectors"].table("vectors"))
    raw = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    judges: list[Map] = [lambda rows: rows, centring(text), whitening(text, 128)]
    judged = [
        (normalize(user_means(train.item_idx, train.offsets, to(text))), normalize(to(text))[target - 1])
        for to in judges
    ]
    spaces: dict[str, Map] = {"raw": lambda rows: rows, "centred": centring(raw)}
    spaces |= {f"whitened {components}": whitening(raw, components) for components in (16, 32, 64, 128)}
    count, base = cluster_count(len(raw), None, 0.04, 4096), None
    print(f"{store.root}: {len(raw):,} users, {count} clusters; cluster, typical by each judge: raw, centred, whitened")
    for name, space in spaces.items():
        vectors, shares = normalize(space(raw)), []
        for seed in SEEDS:
            clusters = cluster_users(vectors, count, iterations=25, seed=seed, threads=0, on_progress=lambda _: None)
            shares.append([judge(clusters, histories.num_train, *space_of_judge) for space_of_judge in judged])
        mean = np.mean(shares, axis=0).ravel()  # cluster, typical of each judge
        base = mean if base is None else base
        print(f"{name:<13}", "  ".join(f"{a:.4f} ({a - b:+.4f})" for a, b in zip(mean, base, strict=True)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", type=Path)
    for folder in parser.parse_args().stores:
        measure(Store(folder))
