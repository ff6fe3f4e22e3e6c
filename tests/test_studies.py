"""The results of the studies are intact, belong to their plans, and their metrics follow from their ranks."""

from pathlib import Path

import pytest
import torch

from eimf.metrics import per_case
from pipeline.sweeps.plan import read_plan
from pipeline.sweeps.results import FILE, read_results

STUDIES = sorted(path.parent for path in (Path(__file__).parent / "studies").glob(f"*/{FILE}"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_results_are_intact(folder):
    plan = read_plan(folder.with_suffix(".toml"))
    results, problems = read_results(folder)
    assert results and not problems
    for result in results.values():
        assert result.backbone in plan.backbones and result.variant in plan.variants and result.seed in plan.seeds
        ranks, case = (torch.from_numpy(values) for values in (result.target_ranks(), result.target_cases()))
        for name in ("ndcg", "recall"):
            mean = float(per_case(name, ranks, case, result.cases, 10).mean())
            assert result.summary[f"{name}@10"] == pytest.approx(mean, abs=0.6e-5)
