"""The script and the language of short texts, without a model.

The script is that of most letters. The language is the one with the most function words in the text ("the", "der",
"les"): a text without any tells nothing, and so does one that two languages share. That is enough to see in which
language a catalogue is written, and whether parts of it are in another one.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from importlib import resources

_WORD = re.compile(r"[^\W\d_]+")
_LANGUAGE_OF_SCRIPT = {"Hangul": "Korean", "Thai": "Thai", "Greek": "Greek", "Hebrew": "Hebrew", "Han": "Chinese"}
_KANA = re.compile("[\u3041-\u30fa]")


def script_of(text: str) -> str | None:
    """The script of most letters, such as Latin or Cyrillic: the first word of the letters' names in Unicode, and Han
    for Chinese characters. None if the text has no letter."""
    letters = Counter(unicodedata.name(letter, "Other").split()[0] for letter in text if letter.isalpha())
    name = next((name for name, _ in letters.most_common(1)), None)
    return "Han" if name == "CJK" else name and name.capitalize()


def function_words() -> dict[str, frozenset[str]]:
    """The function words of each language that `language_of` knows apart from others of its script."""
    text = (resources.files("eimf") / "data" / "card" / "function_words.toml").read_text(encoding="utf-8")
    return {language: frozenset(words.split()) for language, words in tomllib.loads(text).items()}


def language_of(text: str, known: Mapping[str, frozenset[str]]) -> str | None:
    """The language of a text, as far as its script or the `known` function words tell it; otherwise None."""
    if _KANA.search(text):
        return "Japanese"
    if (of_script := _LANGUAGE_OF_SCRIPT.get(script_of(text) or "")) is not None:
        return of_script
    words = set(_WORD.findall(text.lower()))
    counts = Counter({language: len(words & of_language) for language, of_language in known.items()})
    (language, most), (_, second) = counts.most_common(2)
    return language if most > second else None
