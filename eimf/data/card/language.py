"""The script and the language of short texts, without a model.

The script is that of most letters. The language is the one with the most function words in the text ("the", "der",
"les"): a text without any tells nothing, and so does one that two languages share. That is enough to see in which
language a catalogue is written, and whether parts of it are in another one.
"""

import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = {
    "English": "the of and for with to from by you your this that it is at on",
    "German": "der die das und mit für von ein eine im auf zum zur den dem des ist nicht",
    "French": "le la les des du et pour avec une un au aux dans sur en sans ou",
    "Spanish": "el la los las del de para con una un por en al sin",
    "Italian": "il lo gli della di dei nel delle con una un senza da",
    "Portuguese": "os da do dos das de com para um uma em não sem",
    "Dutch": "de het een van voor met en zonder op te uit naar",
    "Swedish": "och för med att en av ett till utan är på som",
    "Danish": "og til med for en af et på den uden som er",
    "Polish": "na do dla ze od bez oraz nie się",
    "Turkish": "ve ile için bir bu çok olan",
    "Indonesian": "dan untuk dengan yang di dari ke ini",
    "Vietnamese": "và của cho với các một không trong",
    "Russian": "и в на с для не из по от к без",
    "Ukrainian": "і в на з для не із та від до без",
}
"""Words of each language without single Latin letters: vitamin E is not Italian."""
_WORDS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_LANGUAGE_OF_SCRIPT = {"Hangul": "Korean", "Thai": "Thai", "Greek": "Greek", "Hebrew": "Hebrew", "Han": "Chinese"}
_KANA = re.compile("[\u3041-\u30fa]")


def script_of(text: str) -> str | None:
    """The script of most letters, such as Latin or Cyrillic: the first word of the letters' names in Unicode, and Han
    for Chinese characters. None if the text has no letter."""
    letters = Counter(unicodedata.name(letter, "Other").split()[0] for letter in text if letter.isalpha())
    name = next((name for name, _ in letters.most_common(1)), None)
    return "Han" if name == "CJK" else name and name.capitalize()


def language_of(text: str) -> str | None:
    """The language of a text, as far as its function words or its script tell it; otherwise None."""
    if _KANA.search(text):
        return "Japanese"
    if (of_script := _LANGUAGE_OF_SCRIPT.get(script_of(text) or "")) is not None:
        return of_script
    words = set(_WORD.findall(text.lower()))
    counts = Counter({language: len(words & known) for language, known in _WORDS.items()})
    (language, most), (_, second) = counts.most_common(2)
    return language if most > second else None
