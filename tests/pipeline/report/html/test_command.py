"""`eimf report` at the command line: a store, chosen trainings, a sweep, and bad input in one line each."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from eimf.store.artifact import Store
from pipeline.sweeps.results import TrialResult, add_results, pack_ranks
from tests.pipeline.report.html.studies import keys_of
from tests.pipeline.test_errors import eimf, refused

PLAN = """
recipes = ["shop.toml"]
backbones = ["sasrec", "gru4rec"]
seeds = [1, 2, 3, 4, 5]
baselines = ["plain"]
[variants]
plain = []
"""
VARIANTS = [f"wide-{number}" for number in range(9)]


@pytest.fixture
def plan(tmp_path) -> Path:
    """Two backbones, ten variants, five seeds."""
    file = tmp_path / "study.toml"
    file.write_text(PLAN + "".join(f'{name} = ["model.width={16 + 8 * at}"]\n' for at, name in enumerate(VARIANTS)))
    return file


def trial(backbone: str, variant: str, seed: int) -> TrialResult:
    """One in three users of every wide model has the target first."""
    rank = np.random.default_rng(seed).integers(1, 60, 90)
    rank[: 30 * (variant != "plain")] = 1
    hits = rank <= 10
    summary = {"ndcg@10": float((hits / np.log2(rank + 1)).mean()), "recall@10": float(hits.mean())}
    fields = {"dataset": "shop", "backbone": backbone, "variant": variant, "seed": seed, "key": f"{seed:064}"}
    return TrialResult(**fields, summary=summary, **pack_ranks(rank, np.arange(90)))


def test_a_store_becomes_a_page(store, tmp_path):
    page = tmp_path / "page.html"
    (key,) = keys_of(store, "checkpoint")
    (dataset,) = keys_of(store, "dataset")
    made = eimf("report", key[:12], "--name", f"{dataset[:6]}=A shop", "--store", str(store.root), "-o", str(page))
    assert made.returncode == 0 and "1 training on a page of" in made.stdout and " KB: " in made.stdout, made.stderr
    shown = page.read_text()
    for section in ("in-short", "results", "slices", "curves", "people", "typical-users", "use-of-interests", "cost"):
        assert f'aria-labelledby="{section}-title"' in shown, section
    assert "<bdi>A shop</bdi></b>: best is <bdi>comirec-sa" in shown and f"eimf report {key[:12]} -o page.html" in shown


def test_a_sweep_of_a_hundred_trainings_becomes_a_page(plan, tmp_path):
    page, empty = tmp_path / "page.html", str(tmp_path / "empty")
    arguments = ("report", "--plan", str(plan), "--store", empty, "-o", str(page))
    refused(eimf(*arguments), "no trial of study", "eimf sweep")
    coordinates = [(backbone, name) for backbone in ("sasrec", "gru4rec") for name in ("plain", *VARIANTS)]
    add_results(tmp_path / "study", [trial(*of, seed) for of in coordinates for seed in range(1, 6)])
    made = eimf(*arguments)
    assert made.returncode == 0 and "100 trainings on a page of" in made.stdout, made.stderr
    assert "Of 18 models against <bdi>plain</bdi>: 18 better." in page.read_text()
    refused(eimf(*arguments, "0123456789ab"), "a plan together with keys", "give one of them")


def test_bad_input_is_one_line(store, tmp_path):
    page = tmp_path / "page.html"
    place = ("--store", str(store.root), "-o", str(page))
    refused(eimf("report", "--store", str(tmp_path / "empty"), "-o", str(page)), "no measured training", "make train")
    refused(eimf("report", "0123456789ab", *place), "begins with '0123456789ab'", "eimf status")
    refused(eimf("report", "--plan", str(tmp_path / "none.toml"), *place), "none.toml")
    refused(eimf("report", "--name", "office", *place), "'office' is not KEY=NAME", "eimf status")
    refused(eimf("report", "--name", "xyz=office", *place), "no dataset begins with", "eimf status")
    refused(eimf("report", *place[:2], "-o", str(tmp_path / "page.pdf")), "'.pdf'", ".html")
    damaged = Store(tmp_path / "store")
    shutil.copytree(store.root, damaged.root)
    (key,) = keys_of(damaged, "metrics")
    (damaged.root / "metrics" / key / "ranks.parquet").unlink()
    refused(eimf("report", "--store", str(damaged.root), "-o", str(page)), "ranks.parquet", "eimf verify")
    assert not page.exists()
