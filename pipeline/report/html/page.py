"""A study as one page."""

from pipeline.report.card.markup import tag
from pipeline.report.html.compared import compare_all
from pipeline.report.html.curves import curves_section
from pipeline.report.html.document import Section, document
from pipeline.report.html.ran import left_out_section, runs_section
from pipeline.report.html.results import in_short, results_section, tiles
from pipeline.report.html.runs import Study
from pipeline.report.html.signal import signal_section
from pipeline.report.html.slices import slices_section

MOST_BYTES = 3_000_000
"""Of a page: it is mailed."""


def report_page(study: Study, command: str) -> str:
    """The whole page; `command` made it."""
    differences = compare_all(study)
    found = [slices_section(study), curves_section(study), signal_section(study, differences)]
    lacking = [problem for _, problems in found for problem in problems]
    short = tag("ul", *(tag("li", line) for line in in_short(study, differences)))
    sections = [
        Section("in-short", "In short", short),
        runs_section(study),
        results_section(study, differences),
        *(section for section, _ in found if section is not None),
    ]
    if (last := left_out_section(study, lacking)) is not None:
        sections.append(last)
    return document(study.title, sections, about=study.about, tiles=tiles(study, differences), command=command)
