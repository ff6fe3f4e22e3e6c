"""The card in a terminal."""

from dataclasses import replace

import numpy as np
import pytest

from eimf.data.card.distribution import distribution
from pipeline.report.card.described import count, cut, date, duration, mean, percent, points
from pipeline.report.card.findings import findings
from pipeline.report.card.terminal import format_card, show_card, sparkline
from tests.pipeline.report.card.cards import described


@pytest.mark.parametrize("with_times", [True, False])
def test_every_section_fits_into_80_columns(with_times):
    lines = format_card(described(with_times=with_times)).splitlines()
    titles = [line for line in lines if line.isupper()]
    assert titles == [
        "WORTH KNOWING", "NOTICES", "SIZE", "POPULARITY", "ORDER AND REPEATS", "DRIFT", "SPLIT", "TITLES AND TEXTS",
        "CLEANING",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("rows: repeated") and line.endswith("7       -      -     40") for line in lines)


def test_what_would_control_a_terminal_is_written_out(capsys):
    show_card(described())
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown and "\\u202eevil" in shown


def test_a_histogram_as_blocks():
    """1, 2, 3 and 4 to 5 have 8, 0, 1 and 4 values: heights of 8, none, 1 and 4 eighths, rounded up to a block."""
    of = distribution(np.array([1] * 8 + [3] + [4] * 4))
    assert sparkline(of) == "\u2588 \u2582\u2585"


def test_numbers_as_people_write_them():
    assert [count(1234.0), mean(7.0), mean(7.25), mean(12345.6)] == ["1,234", "7", "7.2", "12,346"]
    assert [percent(0.04567), points(0.04567), percent(None), points(None)] == ["4.57\u00a0%", "4.57", "-", "-"]
    assert [date(0.0), date(None), date(1e20)] == ["1970-01-01", "-", "1e+20"]
    assert [duration(59), duration(7200), duration(86_400 * 3)] == ["59 seconds", "2 hours", "3 days"]


def test_a_long_name_keeps_its_beginning_and_its_end_and_a_path_its_end():
    assert cut("a very long title", 9) == "a ve\u2026itle" and cut("a very long title", 10) == "a ver\u2026itle"
    assert cut("Toys > Dolls > Playsets", 15) == "\u2026lls > Playsets"
    assert cut("Toys \n Dolls", 10) == "Toys Dolls"


def test_findings_follow_the_figures():
    card = described().card
    told = " ".join(findings(card))
    assert "20\u00a0% of neighboring events are tied" in told and "only be hit with evaluate.keep_seen=true" in told
    calm = replace(card, tied_share=0.0, cases=())
    assert "tied" not in " ".join(findings(calm)) and "keep_seen" not in " ".join(findings(calm))
    assert "No item has a title" in " ".join(findings(replace(card, texts=replace(card.texts, titled=0))))
    training, test = card.drift.splits[1], card.drift.splits[3]
    fallen = replace(card.drift, splits=(*card.drift.splits[:3], replace(test, top_10=training.top_10 / 3)))
    assert "Popularity drifts" in " ".join(findings(replace(card, drift=fallen)))
    assert "Popularity drifts" not in told
