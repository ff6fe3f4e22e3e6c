"""Options of the stages: planning, extending, recommending, exporting."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options.option import DATA, INPUT, OUTPUT, finite, option

ClusterCounts = Annotated[
    list[int] | None,
    option(
        "--clusters",
        "-c",
        panel=INPUT,
        metavar="N",
        min=1,
        help="A number of clusters. Repeatable.  [default: an eighth to four times that of the recipe]",
    ),
]
TokenRate = Annotated[
    float | None,
    option(
        "--rate",
        panel=INPUT,
        metavar="N",
        callback=finite,
        help="Tokens of prompts and replies that the LLM takes a second.  [default: as in earlier runs]",
    ),
]
TokenPrice = Annotated[
    str | None,
    option(
        "--price",
        panel=INPUT,
        metavar="IN/OUT",
        help="Price of a million tokens of prompts, and of replies: 0.15/0.60.",
    ),
]
PlanPlot = Annotated[
    Path | None, option("--output", "-o", panel=OUTPUT, metavar="FILE", help="Draw the plan too: plan.svg.")
]
Base = Annotated[
    str,
    typer.Argument(
        metavar="ESIM", help="Key of the ESIM artifact to go on with, as `eimf esim` and `eimf status` print it."
    ),
]
History = Annotated[
    list[str] | None,
    typer.Argument(metavar="ITEM", help="Item ids, oldest first. Put -- before ids that begin with a dash."),
]
User = Annotated[
    str | None, option("--user", "-u", panel=INPUT, metavar="ID", help="A user of the dataset, instead of items.")
]
Times = Annotated[
    list[float] | None,
    option(
        "--time",
        "-t",
        panel=INPUT,
        metavar="SECONDS",
        help="Time of an item, for backbones that use times. Repeat once per item.",
    ),
]
Count = Annotated[int, option("--count", "-n", panel=OUTPUT, metavar="N", min=1, help="Number of items to recommend.")]
Output = Annotated[
    Path | None,
    option(
        "--output",
        "-o",
        panel=OUTPUT,
        metavar="FILE",
        help="Recommend to every user of the dataset, and write a .parquet, .csv or .jsonl file.",
    ),
]
ServeSeen = Annotated[
    bool | None,
    option(
        "--keep-seen/--no-keep-seen",
        panel=OUTPUT,
        help="Recommend items of the history again, or never.  [default: as in training]",
    ),
]
TrainedCheckpoint = Annotated[
    str | None,
    typer.Argument(
        metavar="CHECKPOINT", help="Key of a checkpoint or calibration.  [default: the one that the options train]"
    ),
]
LabelKey = Annotated[
    str | None,
    option(
        "--esim",
        "-e",
        panel=DATA,
        metavar="KEY",
        help="ESIM artifact whose interests are the labels.  [default: that of the training, or else the newest of the "
        "dataset]",
    ),
]
Labels = Annotated[bool, option("--labels/--no-labels", panel=OUTPUT, help="Whether to name interests.")]
IndexKind = Annotated[
    str | None,
    option(
        "--index",
        panel=OUTPUT,
        metavar="KIND",
        help="exact, hnsw or ivfpq.  [default: exact, or hnsw for a large catalogue]",
    ),
]
