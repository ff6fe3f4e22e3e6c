"""EIMF in Python: what the commands do, as functions that return objects and tables.

    from pipeline import api

    data = api.load_dataset("ml-100k")                       # a name, a path, or a table of events
    interests = api.infer_interests(data)                    # stage one: asks an LLM, once
    plain = api.fit(data, preset="plain")
    modern = api.fit(interests, settings={"train.lr": 4e-3})
    api.recommend(modern, ["242", "302"])                    # a pyarrow table; polars.from_arrow and to_pandas take it
    api.compare(plain, modern, slices="history")
    api.report([plain, modern], "report.html")
    api.export(modern, "bundle")

Every call finds what the store has and builds the rest, like the command of the same name. It prints what the command
prints, or nothing with `progress=False`, and raises the errors of `eimf.errors`, which say on one line what to do.
Settings are those of a recipe, by their dotted names. An interrupted call may be repeated: it resumes.
"""

from pipeline.api.comparing import Comparison, compare
from pipeline.api.datasets import Dataset, load_dataset, open_store
from pipeline.api.interests import Interests, infer_interests
from pipeline.api.reporting import Report, report
from pipeline.api.serving import export, recommend
from pipeline.api.sweeps import Sweep, sweep
from pipeline.api.training import Trained, evaluate, fit

__all__ = [
    "Comparison",
    "Dataset",
    "Interests",
    "Report",
    "Sweep",
    "Trained",
    "compare",
    "evaluate",
    "export",
    "fit",
    "infer_interests",
    "load_dataset",
    "open_store",
    "recommend",
    "report",
    "sweep",
]
