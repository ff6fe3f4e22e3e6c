"""Options of the experiments: sweeps, searches, checks, comparisons and reports."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options.option import DATA, INPUT, OUTPUT, SETTINGS, option

Plan = Annotated[Path, typer.Argument(metavar="PLAN", help="TOML plan: recipes, backbones, seeds, variants.")]
SearchPlan = Annotated[
    Path, typer.Argument(metavar="PLAN", help="TOML plan: that of a sweep, with a space of settings and a budget.")
]
Results = Annotated[
    Path | None,
    option(
        "--results",
        "-o",
        panel=OUTPUT,
        metavar="FOLDER",
        help="Folder for the results and the table.  [default: named like the plan, next to it]",
    ),
]
Workers = Annotated[
    int,
    option("--workers", "-w", panel="Resources", metavar="N", min=1, help="Trainings at a time, one CPU thread each."),
]
BesideCheckpoint = Annotated[
    str | None,
    option(
        "--checkpoint",
        panel=DATA,
        metavar="KEY",
        help="Checkpoint of this dataset, in full or shortened: what do the sources add to its score?",
    ),
]
Vectors = Annotated[
    list[str] | None,
    option(
        "--vectors",
        panel=DATA,
        metavar="NAME=FILE",
        help="Parquet file with item_id and vector to check as well; may be given several times.",
    ),
]
FirstTraining = Annotated[
    str, typer.Argument(metavar="A", help="Metrics, checkpoint or calibration; with commas, one for each seed.")
]
SecondTraining = Annotated[str, typer.Argument(metavar="B", help="What is compared with A, in the same form.")]
Metrics = Annotated[
    list[str] | None,
    option(
        "--metric",
        "-m",
        panel=SETTINGS,
        metavar="NAME@K",
        help="Metric and cut-off; may be given several times.  [default: ndcg@10]",
    ),
]
SliceNames = Annotated[
    list[str] | None,
    option(
        "--slice",
        panel=SETTINGS,
        metavar="GROUP[:LABEL]",
        help="Such as history:short, history for its parts, or every; may be given several times.  [default: all]",
    ),
]
Samples = Annotated[
    int,
    option(
        "--samples", panel=SETTINGS, min=100, max=10_000_000, metavar="NUMBER", help="Bootstrap samples of the users."
    ),
]
SweepResults = Annotated[
    Path | None,
    option("--results", panel=DATA, metavar="FOLDER", help="Results of a sweep, of which A and B are variants."),
]
SliceEsim = Annotated[
    str | None,
    option(
        "--esim",
        "-e",
        panel=DATA,
        metavar="KEY",
        help="ESIM artifact of the slices read and typical.  [default: that of A and B]",
    ),
]
Reported = Annotated[
    list[str] | None,
    typer.Argument(metavar="CHECKPOINT...", help="Keys of checkpoints or calibrations.  [default: all in the store]"),
]
ReportPage = Annotated[
    Path, option("--output", "-o", panel=OUTPUT, metavar="FILE", help="The page.", show_default="report.html")
]
ReportPlan = Annotated[
    Path | None,
    option("--plan", panel=INPUT, metavar="PLAN", help="TOML plan of a sweep, whose results are next to it."),
]
ReportResults = Annotated[
    Path | None,
    option(
        "--results", panel=INPUT, metavar="FOLDER", help="Folder of the plan's results.  [default: named like the plan]"
    ),
]
ReportNames = Annotated[
    list[str] | None,
    option(
        "--name",
        panel=INPUT,
        metavar="KEY=NAME",
        help="What a dataset is called, by the beginning of its key. Repeat it.",
    ),
]
