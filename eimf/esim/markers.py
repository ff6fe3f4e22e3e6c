"""Markers: the texts that separate turns and roles in a chat format. No title may contain one."""

import re
from collections.abc import Iterable

_SIGNS = re.compile(r"[<>\[\]{}|#:]")


def is_marker(text: str) -> bool:
    """True for a text with a sign that markers have, unlike words and blanks."""
    return bool(_SIGNS.search(text))


def words_between(rendered: str, contents: Iterable[str]) -> set[str]:
    """The markers that a chat template writes as plain text: the words of `rendered` around the given contents."""
    for content in sorted(contents, key=len, reverse=True):
        rendered = rendered.replace(content, " ")
    return {word for word in rendered.split() if is_marker(word)}


class Markers:
    """A set of markers, to escape or to find in a text."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(re.escape, self.texts)) or "(?!)", re.IGNORECASE)

    def escape(self, text: str) -> str:
        """`text` with a blank inside every marker, until none is left; a marker of one character becomes a blank."""
        while True:
            text, count = self._pattern.subn(lambda match: _break(match[0]), text)
            if not count:
                return text

    def find_all(self, text: str) -> list[str]:
        """Every marker in `text`, in order."""
        return self._pattern.findall(text)


def _break(marker: str) -> str:
    """`< |im_end|>`, `USER :`; of a single character a blank."""
    if len(marker) == 1:
        return " "
    sign = _SIGNS.search(marker)
    middle = max(1, sign.start()) if sign else 1
    return f"{marker[:middle]} {marker[middle:]}"
