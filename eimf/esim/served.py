"""Messages for a model whose tokenizer and chat template only its server knows (`llm.model = "served:NAME"`)."""

import json
import re
from collections.abc import Mapping, Sequence

SCHEME = "served:"
_CHARACTERS = 4
"""Of a token of English text, about."""
_MARKER = re.compile(r"<[^<>\s]{1,60}>|<\||\|>|<<|>>|\[/?[A-Z_]{2,30}\]|<\uff5c|\uff5c>", re.IGNORECASE)
"""What the special tokens of chat formats look like: `<|im_end|>`, `<start_of_turn>`, `[INST]`, `<<SYS>>`."""


def served_name(model: str) -> str | None:
    """NAME of `served:NAME`; None for another model."""
    return model.removeprefix(SCHEME) if model.startswith(SCHEME) else None


class MessagesRenderer:
    """Writes the messages as JSON, which is sent as it is: the server applies its chat template. Titles are data, so
    everything in them that looks like a special token gets a blank."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        return json.dumps([dict(message) for message in messages], ensure_ascii=False)

    def as_data(self, text: str) -> str:
        while _MARKER.search(text):
            text = _MARKER.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        return text

    def count_tokens(self, prompt: str) -> int:
        """About how many tokens the messages have, by their length: only the server knows the tokenizer."""
        return -(-sum(len(message["content"]) for message in json.loads(prompt)) // _CHARACTERS)

    def markers(self, prompt: str) -> list[str]:
        """Everything in the messages that looks like a special token, in order."""
        contents = [message["content"] for message in json.loads(prompt)]
        return [marker for content in contents for marker in _MARKER.findall(content)]
