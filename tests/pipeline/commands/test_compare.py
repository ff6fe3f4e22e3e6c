"""Trainings are compared from their stored ranks; the checkpoints here hold nothing but their configuration."""

import json
import re
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.data.eval_cases import EvalCases
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.histories import read_dataset
from pipeline.ranked import find_metrics, pair_of
from pipeline.stages.stage import Artifacts, Stage, find_or_build
from pipeline.stages.stage_one import run_esim
from pipeline.sweeps.pairs import pairs_of_results
from pipeline.sweeps.results import MAX_RANK, TrialResult, add_results, pack_ranks
from tests import world as planted
from tests.pipeline.test_errors import eimf


def _one_file(_artifacts, staging):
    staging.write_table("nothing", pa.table({"nothing": [0]}))
    return {}


class World:
    """A store after stage one, and trainings of it with the ranks that a test wants."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        self.store, self.artifacts = store, dict(artifacts)
        self.cases: EvalCases = read_dataset(artifacts["dataset"]).cases[schema.TEST]

    def trained(self, seed: int, ranks: np.ndarray, lr: float = 1.0, esim: bool = False, **evaluate) -> Artifact:
        """The metrics of a training."""
        parents = ("dataset", "esim") if esim else ("dataset",)
        configuration = {"model": {"backbone": "dnn"}, "train": {"seed": seed, "lr": lr}, "keep_seen": False}
        empty = Stage(11, "checkpoint", 3, parents, configuration, _one_file)
        checkpoint, _ = find_or_build(empty, self.store, self.artifacts)
        settings = {"evaluate": {"cutoffs": [10], "keep_seen": False, **evaluate}}
        stage = Stage(12, "metrics", 3, ("dataset", "checkpoint"), settings, partial(self._write, ranks))
        return find_or_build(stage, self.store, {**self.artifacts, "checkpoint": checkpoint})[0]

    def _write(self, ranks, artifacts, staging):
        cases = self.cases
        columns = (cases.case, cases.user_idx[cases.case], cases.item_idx, ranks)
        table = pa.table([column.astype(np.int32) for column in columns], schema=schema.RANKS)
        staging.write_table("ranks", table)
        return {}

    def eimf(self, *arguments: str):
        return eimf("compare", *arguments, "--store", str(self.store.root), "--samples", "200")


@pytest.fixture(scope="module")
def world(tmp_path_factory, world_folder) -> World:
    store = Store(tmp_path_factory.mktemp("store"))
    return World(store, run_esim(planted.recipe(world_folder), store))


@pytest.fixture(scope="module")
def runs(world) -> dict[str, Artifact]:
    """Every rank of A is 3, with an NDCG of 1/2; B has 1 for two users of three."""
    place = np.arange(len(world.cases.item_idx))
    third, better = np.full(len(place), 3), np.where(place % 3, 1, 3)
    return {
        "a1": world.trained(1, third),
        "a2": world.trained(2, third),
        "b1": world.trained(1, better, lr=2.0, esim=True),
        "b2": world.trained(2, better, lr=2.0, esim=True),
        "seen": world.trained(1, third, lr=3.0, keep_seen=True),
    }


def keys(runs, *names: str) -> str:
    return ",".join(runs[name].short for name in names)


def test_b_is_better_in_words_and_numbers(world, runs):
    said = world.eimf(
        keys(runs, "a1", "a2"), keys(runs, "b1", "b2"), "--slice", "every", "-m", "ndcg@10", "-m", "map@1"
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[:2] == ["A  dnn, 2 checkpoints, seeds 1 2", "B  dnn, 2 checkpoints, seeds 1 2"]
    (row,) = (line.split() for line in lines if line.startswith("ndcg@10 all"))
    share = np.mean(np.arange(len(world.cases)) % 3 > 0)
    assert row[2] == str(len(world.cases)) and row[-1] == "better"
    assert row[3:6] == ["0.5000", "±", "0.0000"] and row[6] == f"{(1 + share) / 2:.4f}"
    for name in ("map@1 history:short", "ndcg@10 read:yes", "ndcg@10 typical:far"):
        assert sum(line.startswith(name) for line in lines) == 1


def test_every_figure_is_there_as_json(world, runs):
    said = world.eimf(keys(runs, "b1"), keys(runs, "a1"), "--json", "-m", "recall@1", "--slice", "read")
    rows = json.loads(said.stdout)["rows"]
    read = {row["slice"]: row for row in rows}
    esim = world.artifacts["esim"].table("users")[schema.LAST_PROMPTED_POSITION].to_numpy() >= 0
    assert read["read:yes"]["cases"] == esim[world.cases.user_idx].sum() and read["read:no"]["verdict"] == "worse"
    assert read["read:no"]["mean_b"] == {"value": 0.0, "deviation": None, "seeds": 1}
    assert read["read:no"]["low"] <= read["read:no"]["difference"] <= read["read:no"]["high"] < 0


def test_a_checkpoint_leads_to_its_metrics_and_one_measured_in_two_ways_does_not(world, runs):
    assert find_metrics(world.store, runs["a1"].parent("checkpoint")[:20]).key == runs["a1"].key
    place = np.full(len(world.cases.item_idx), 2)
    first = world.trained(7, place)
    other_cutoffs = world.trained(7, place, cutoffs=[20])
    assert find_metrics(world.store, first.parent("checkpoint")).key in (first.key, other_cutoffs.key)
    world.trained(7, place, keep_seen=True)
    with pytest.raises(ArtifactError, match=r"3 metrics in .* are of checkpoint .*; give the key of one of them"):
        find_metrics(world.store, first.parent("checkpoint"))


def test_distances_are_to_the_typical_user_of_the_same_cluster(world, runs):
    pair = pair_of(world.store, [runs["a1"].key], [runs["b1"].key])
    users = world.cases.user_idx
    read = pair.slices.chosen("read:yes")
    assert read.any() and not (read & pair.slices.chosen("typical:far")).any()  # nobody is nearer than oneself
    cosine = _cosines(world)[users]
    near, far = (cosine[pair.slices.chosen(f"typical:{label}")] for label in ("near", "far"))
    assert len(near) and len(far) and near.min() >= far.max()


def _cosines(world: World) -> np.ndarray:
    """The same, user by user."""
    users, vectors = world.artifacts["esim"].table("users"), world.artifacts["user_vectors"].table("vectors")
    cluster, read = users[schema.CLUSTER].to_numpy(), users[schema.LAST_PROMPTED_POSITION].to_numpy() >= 0
    unit = schema.vectors_of(vectors)
    return np.array([max(unit[user] @ unit[one] for one in np.flatnonzero(read & (cluster == cluster[user])))
                     for user in range(len(unit))])  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("a1", "a1"), "are given twice; give each training once"),
        (("a1,b2", "b1"), "not of one training with different seeds"),
        (("a1", "seen"), "evaluate.keep_seen: metrics .* have False, .* have True"),
        (("a1,", "b1"), "a key is missing or empty"),
        (("a1", "ffffffff"), "0 metrics, checkpoints and calibrations begin with 'ffffffff'"),
        (("a1", "b1", "-m", "auc@10"), "metric: there is no 'auc@10'; write NAME@K"),
        (("a1", "b1", "--slice", "age"), "slice: there is no 'age'; use every, or some of all, popularity:head"),
        (("a1", "a2", "--slice", "read"), "slice: 'read' needs an ESIM artifact; give its key by --esim"),
        (("a1", "b1", "--esim", "ffff"), "0 artifacts of kind esim begin with 'ffff'"),
        (("a1", "b1", "--results", "/nowhere"), "/nowhere has no data set and backbone with a seed of both"),
    ],
)
def test_what_cannot_be_compared_is_one_line(world, runs, arguments, problem):
    def key(name: str) -> str:
        return ",".join(runs[part].short if part in runs else part for part in name.split(","))

    said = world.eimf(*map(key, arguments[:2]), *arguments[2:])
    assert said.returncode == 2 and len(said.stderr.splitlines()) == 1, said.stderr
    assert re.search(problem, said.stderr) and not said.stdout


def test_metrics_of_another_dataset_and_an_empty_store_are_one_line(world, runs, tmp_path):
    other = World(world.store, world.artifacts)
    other.artifacts["dataset"] = find_or_build(Stage(1, "dataset", 9, (), {}, _one_file), world.store, {})[0]
    foreign = other.trained(1, np.full(len(world.cases.item_idx), 3))
    said = world.eimf(runs["a1"].short, foreign.short)
    assert f"dataset: metrics {runs['a1'].short} have" in said.stderr and len(said.stderr.splitlines()) == 1
    said = eimf("compare", "aa", "bb", "--store", str(tmp_path))
    assert "0 metrics, checkpoints and calibrations begin with 'aa'" in said.stderr and said.returncode == 2


def result(variant: str, seed: int, metrics: str, ranks: np.ndarray) -> TrialResult:
    packed = pack_ranks(ranks, np.arange(len(ranks)))
    fields = {"dataset": "world", "backbone": "dnn", "variant": variant, "seed": seed, "key": metrics, "summary": {}}
    return TrialResult(**fields, **packed)


def test_variants_of_a_sweep_are_compared_with_the_store_and_without_it(world, runs, tmp_path):
    ranks = {name: run.table("ranks")[schema.RANK].to_numpy() for name, run in runs.items()}
    variants = {"a1": ("plain", 1), "a2": ("plain", 2), "b1": ("modern", 1)}
    add_results(tmp_path, [result(*variants[name], runs[name].key, ranks[name]) for name in variants])
    (stored,) = pairs_of_results(tmp_path, "plain", "modern", world.store)
    (alone,) = pairs_of_results(tmp_path, "plain", "modern", Store(tmp_path / "empty"))
    for pair in (stored, alone):
        assert pair.label == "world dnn" and list(pair.base.runs) == list(pair.other.runs) == [1]  # what both have
        assert np.array_equal(pair.other.runs[1], ranks["b1"])
    assert "history:short" in stored.slices.names and stored.largest_k is None
    assert alone.slices.names == ["all"] and alone.largest_k == MAX_RANK
    command = ("compare", "plain", "modern", "--results", str(tmp_path), "--samples", "200", "--store")
    with_store, without = (
        eimf(*command, str(root)).stdout.splitlines() for root in (world.store.root, tmp_path / "empty")
    )
    assert with_store[-6:] == without[-6:] and without[:2] == ["A  plain (world dnn)", "B  modern (world dnn)"]
    said = eimf(*command, str(tmp_path / "empty"), "-m", "ndcg@51")
    assert "metric: ndcg@51 of world dnn, of which only ranks up to 50 are kept" in said.stderr
    said = eimf(*command, str(tmp_path / "empty"), "--slice", "history")
    assert "slice: there is no 'history'" in said.stderr
