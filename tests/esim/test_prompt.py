import json

import numpy as np
import pytest

from eimf.errors import SettingError
from eimf.esim.fake import FakeRenderer
from eimf.esim.parse import parse_reply
from eimf.esim.prompt import load_template, messages, prompt_history, reply_schema


@pytest.mark.parametrize("name", ["movies", "products"])
def test_built_in_templates_answer_their_own_examples(name, tmp_path):
    template = load_template(name, tmp_path)
    for example in template.examples:
        answer = json.dumps([entry.model_dump(mode="json") for entry in example.interests])
        parsed = parse_reply(answer, len(example.titles), frozenset(), 9)
        assert parsed.interests == [entry.interest for entry in example.interests]
        assert sorted(number for numbers in parsed.evidence for number in numbers) == list(
            range(1, len(example.titles) + 1)
        )


@pytest.mark.parametrize("name", ["movies", "products"])
def test_no_two_examples_have_the_same_evidence(name, tmp_path):
    """No two examples have as many titles, as many interests of one size, or an interest with the same numbers."""
    template = load_template(name, tmp_path)
    lengths = [len(example.titles) for example in template.examples]
    numbers = [tuple(numbers) for evidence in template.example_evidence() for numbers in evidence]
    shapes = [sorted(map(len, evidence)) for evidence in template.example_evidence()]
    assert len(set(lengths)) == len(lengths) and len(set(numbers)) == len(numbers)
    assert all(shapes.count(shape) == 1 for shape in shapes)
    assert [[1, 3], [2, 4]] not in template.example_evidence()


def test_all_but_the_last_message_is_shared_by_all_users(tmp_path):
    template = load_template("movies", tmp_path)
    render = FakeRenderer().render
    a, b = messages(template, ["Heat (1995)"]), messages(template, ["Babe (1995)", "Fargo (1996)"])
    assert a[:-1] == b[:-1]
    assert render(b).startswith(render(a[:-1]))
    assert b[-1]["content"] == "1. Babe (1995)\n2. Fargo (1996)"


def test_the_prompt_has_the_most_recent_titled_items_and_notes_the_position_of_the_last():
    titles = ["One", None, "Three", "Four is long"]
    history = prompt_history(np.array([1, 2, 3, 4, 1, 2]), titles, max_titles=3, title_chars=6)
    assert history is not None
    assert (history.item_idx, history.titles) == ([3, 4, 1], ["Three", "Four i", "One"])
    assert history.last_position == 4  # the event at position 5 has no title
    assert prompt_history(np.array([2]), titles, 3, 6) is None


def test_a_custom_template_and_its_errors(tmp_path):
    (tmp_path / "mine.toml").write_text('version = 1\nsystem = "Say."\n')
    assert load_template("mine.toml", tmp_path).system == "Say."
    (tmp_path / "bad.toml").write_text('version = 1\nsystem = "Say."\nsytem = 2\n')
    for name, message in (
        ("bad.toml", r"is not a template \(sytem: extra inputs are not permitted\)"),
        ("none.toml", "no template 'none.toml'"),
        ("none", "no template"),
    ):
        with pytest.raises(SettingError, match=message):
            load_template(name, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("version = " + "9" * 5000, "integer"),
        ("version = 0x" + "f" * 9000, "version: input should be less than"),
        ("version = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("version = 1\nsystem = " + "{a = " * 3000, "nested too deeply"),
        ('version = 1\nsystem = "Say."\n' + "x" * 5000 + " = 1", "extra inputs are not permitted"),
        ('version = 1\nsystem = "\udcff"'.encode("utf-8", "surrogateescape"), "utf-8"),
    ],
    ids=range(6),
)
def test_an_absurd_template_is_refused_in_one_line(tmp_path, content, reason):
    (tmp_path / "mine.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError) as error:
        load_template("mine.toml", tmp_path)
    said = str(error.value)
    assert said.startswith("prompt.template: 'mine.toml' is not a template (") and reason in said
    assert "\n" not in said and len(said) < 500


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000, "b" * 5000 + ".toml", "\0", "", "."])
def test_an_unknown_template_name_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(SettingError, match=r"prompt\.template: no template .* that can be read; use movies") as error:
        load_template(name, tmp_path)
    assert len(str(error.value)) < 500


def test_a_template_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text('\ufeffversion = 1\nsystem = "Say."\n', encoding="utf-8")
    assert load_template("mine.toml", tmp_path).system == "Say."


def test_examples_are_shown_as_they_are_written(tmp_path):
    example = '[[examples]]\ntitles = ["Fräulein Smilla"]\ninterests = [{interest = "Krimis für alle", items = [1]}]\n'
    (tmp_path / "mine.toml").write_text(f'version = 1\nsystem = "Say."\n{example}')
    talk = messages(load_template("mine.toml", tmp_path), ["Heat"])
    assert talk[2]["content"] == '[{"interest": "Krimis für alle", "items": [1]}]'


def test_the_schema_bounds_what_the_parser_accepts():
    schema = reply_schema(min_interests=2, max_interests=4, interest_chars=60, max_titles=15)
    assert (schema["minItems"], schema["maxItems"]) == (2, 4)
    assert schema["items"]["properties"]["items"]["items"] == {"type": "integer", "minimum": 1, "maximum": 15}


def test_phrases_to_choose_from_follow_the_titles_and_the_shared_part_stays_shared(tmp_path):
    template = load_template("movies", tmp_path)
    a, b = messages(template, ["Heat"], ["crime movies"]), messages(template, ["Babe"], ["animals", "1990s movies"])
    assert a[:-1] == b[:-1] and b[-1]["content"] == "1. Babe\n\nChoose from: animals; 1990s movies"
    offered = a[1]["content"].rpartition("Choose from: ")[2].split("; ")
    assert {phrase.casefold() for phrase in offered} == template.example_phrases()


@pytest.mark.parametrize("wording", ['{mood = "{}"}', '{category = "movies"}', '{category = "{} {}"}'])
def test_a_wording_that_names_nothing_is_refused(tmp_path, wording):
    (tmp_path / "mine.toml").write_text(f'version = 1\nsystem = "Say."\nwording = {wording}\n')
    with pytest.raises(SettingError, match=r"is not a template \(wording: .* needs one \{\} in its pattern"):
        load_template("mine.toml", tmp_path)
