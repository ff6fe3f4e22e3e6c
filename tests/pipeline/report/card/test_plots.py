"""Plots are well-formed, stay within their frame, and show what they were given."""

import re
from xml.etree import ElementTree

import pytest

from pipeline.report.card import plots

BARS = plots.bars("t", "d", [plots.Bar(value, str(value), f"{value} of 4") for value in (0, 2, 4)], "x")


def elements(plot: str, name: str) -> list[dict[str, str]]:
    return [node.attrib for node in ElementTree.fromstring(plot).iter(name)]


def test_bars_are_as_high_as_their_values():
    heights = [float(bar["height"]) for bar in elements(BARS, "rect")]
    assert heights[0] == 0 and heights[2] == pytest.approx(2 * heights[1], abs=0.2)


@pytest.mark.parametrize(
    "plot",
    [
        BARS,
        plots.bars("none", "", [], "x"),
        plots.bars("many", "", [plots.Bar(1, "2020-01-01", "")] * 60, "x"),
        plots.curve("one", "", [(1, 5)], "x"),
        plots.curve("zeros", "", [(1, 5), (2, 0)], "x"),
        plots.curve("large", "", [(1, 10**9), (10**8, 1)], "x"),
        plots.lines("gaps", "", [("a", [None, 0.5, 1.0]), ("b", [0.0, None, 0.001])], ["1", "2", "3"], "x"),
        plots.lines("nothing", "", [("a", [None])], ["1"], "x"),
        plots.rows("rows", "", [("<b>" * 20, 0.5, "50 %"), ("y", 0.0, "0 %")]),
    ],
    ids=lambda plot: re.search("<title>(.*?)</title>", plot)[1],
)
def test_a_plot_is_well_formed_named_and_within_its_frame(plot):
    root = ElementTree.fromstring(plot)
    assert [child.tag for child in root][:2] == ["title", "desc"] and root.get("role") == "img"
    _, _, width, height = map(float, root.get("viewBox").split())
    for node in root.iter():
        for name, most in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            assert 0 <= float(node.get(name, 0)) <= most, (node.tag, name, node.attrib)
        for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", node.get("d", "")):
            assert 0 <= float(x) <= width and 0 <= float(y) <= height


def test_labels_that_do_not_fit_are_left_out():
    dates = plots.bars("t", "d", [plots.Bar(1, "2020-01-01", "")] * 60, "x")
    assert 3 <= dates.count(">2020-01-01</text>") <= 5


@pytest.mark.parametrize(
    ("least", "step"), [(0, 1), (0.9, 1), (1, 1), (1.2, 2), (3, 5), (7, 10), (120, 200), (0.03, 0.05)]
)
def test_steps_of_an_axis_are_round(least, step):
    assert plots.nice_step(least) == pytest.approx(step)


def test_ticks():
    assert plots.Axis(0, 10, 0, 1).ticks() == [0, 2, 4, 6, 8, 10]
    assert plots.Axis(1, 2000, 0, 1, log=True).ticks() == [1, 10, 100, 1000]
    assert plots.Axis(1, 100, 0, 1, log=True)(10) == pytest.approx(1 / 2)
    assert [plots.short(number) for number in (7, 1200, 3_400_000)] == ["7", "1.2k", "3.4M"]
