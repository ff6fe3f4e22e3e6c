"""The commands of experiments: many trainings, their comparison, and what the interests add."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import DATASET, STORE, recipe_of, store_at
from pipeline.cli.help import EXPERIMENTS, CommandPage
from pipeline.cli.options import common, experiments

experiments_app = typer.Typer()
command = partial(experiments_app.command, cls=CommandPage, rich_help_panel=EXPERIMENTS)
_REPORT = Path("report.html")


@command(epilog=EXAMPLES["sweep"])
def sweep(
    plan: experiments.Plan, store: common.StoreFolder = STORE, results: experiments.Results = None,
    workers: experiments.Workers = 2,
) -> None:  # fmt: skip
    """Run the trainings of a plan and compare them in a table.

    The table has means over seeds and paired tests over users. Finished trainings are not run again; after an
    interruption the same command resumes.
    """
    from pipeline.commands.sweep import run_plan

    run_plan(plan, store_at(store), results, workers)


@command(epilog=EXAMPLES["search"])
def search(
    plan: experiments.SearchPlan, store: common.StoreFolder = STORE, results: experiments.Results = None,
    workers: experiments.Workers = 2,
) -> None:  # fmt: skip
    """Search settings on validation items only.

    Optuna proposes settings of the plan's space to every variant, as many to each. The best trial of each is then
    trained with every seed, measured on the test items, and compared as by `eimf sweep`. After an interruption the same
    command resumes, and ends where it would have ended.
    """
    from pipeline.commands.search import run_plan

    run_plan(plan, store_at(store), results, workers)


@command(epilog=EXAMPLES["check"])
def check(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, store: common.StoreFolder = STORE,
    esim: common.EsimKey = None, checkpoint: experiments.BesideCheckpoint = None,
    vectors: experiments.Vectors = None, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Check whether the interests say anything new.

    Takes seconds and trains nothing. Says of popularity, co-occurrence, texts, the LLM's interests and their controls
    what each adds to the others: "adds", "adds nothing" or "not shown". With --checkpoint, also beside that model;
    with --vectors, the same of any vectors of your items.
    """
    from pipeline.commands.check import run_check

    run_check(recipe_of(dataset, recipe, settings), store_at(store), esim, checkpoint, vectors or ())


@command(epilog=EXAMPLES["backbones"])
def backbones() -> None:
    """List the backbones and their options."""
    from pipeline.report.backbones import show_backbones

    show_backbones()


@command(epilog=EXAMPLES["compare"])
def compare(
    first: experiments.FirstTraining, second: experiments.SecondTraining, store: common.StoreFolder = STORE,
    metrics: experiments.Metrics = None, slices: experiments.SliceNames = None,
    results: experiments.SweepResults = None, esim: experiments.SliceEsim = None, samples: experiments.Samples = 10_000,
    as_json: common.AsJson = False,
) -> None:  # fmt: skip
    """Compare two trainings by any metric and slice.

    Reads the stored ranks, and needs no model. Says for each metric and slice whether B is "better" than A, "worse" or
    "not shown", with the difference, its interval, its p, and the smallest gain that would show.
    """
    from pipeline.commands.compare import run_compare

    run_compare(
        store_at(store), first, second, metrics or [], slices or [],
        results=results, esim=esim, samples=samples, as_json=as_json,
    )  # fmt: skip


@command(epilog=EXAMPLES["report"])
def report(
    checkpoints: experiments.Reported = None, store: common.StoreFolder = STORE, plan: experiments.ReportPlan = None,
    results: experiments.ReportResults = None, names: experiments.ReportNames = None,
    output: experiments.ReportPage = _REPORT,
) -> None:  # fmt: skip
    """Show trainings on one page, to be forwarded.

    Those of a store, of a sweep, or with the keys that are given: results with intervals and corrected tests in words,
    slices, training curves, and what the LLM adds. The page is one file without any request. What the store lacks is
    left out and said.
    """
    from pipeline.commands.report import run_report

    run_report(store_at(store), output, keys=checkpoints or (), plan=plan, results=results, names=names or ())
