"""The chat formats of well-known models, small: a tokenizer of single bytes with the format's special tokens, and a
chat template in our own words that writes the same markers."""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

CHATML = """{% if messages[0].role != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}{% for turn in messages %}<|im_start|>{{ turn.role }}
{{ turn.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA_3 = """{{ bos_token }}{% for turn in messages %}<|start_header_id|>{{ turn.role }}<|end_header_id|>

{% if loop.first %}Today Date: {{ date_string }}

{% endif %}{{ turn.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant\
<|end_header_id|>

{% endif %}"""

GEMMA = """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
{% for turn in messages %}<start_of_turn>{{ 'model' if turn.role == 'assistant' else turn.role }}
{{ turn.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

MISTRAL = """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
{% for turn in messages %}{% if turn.role == 'user' %}[INST] {{ turn.content }} [/INST]\
{% else %} {{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}"""

LLAMA_2 = """{% for turn in messages %}{% if turn.role == 'system' %}{{ bos_token }}[INST] <<SYS>>
{{ turn.content }}
<</SYS>>

{% elif turn.role == 'user' %}{% if loop.index > 2 %}{{ bos_token }}[INST] {% endif %}{{ turn.content }} [/INST]\
{% else %} {{ turn.content }} {{ eos_token }}{% endif %}{% endfor %}"""

VICUNA = """{% for turn in messages %}{% if turn.role == 'system' %}{{ turn.content }} {% elif turn.role == 'user' %}\
USER: {{ turn.content }} {% else %}ASSISTANT: {{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""


@dataclass(frozen=True)
class Chat:
    """A chat format: its template, special tokens (the first begins, the second ends), other added tokens; whether its
    tokenizer is of the kind with a mark for blanks and NFKC; markers that its template writes as plain text."""

    template: str
    special: tuple[str, ...]
    added: tuple[str, ...] = ()
    marked_blanks: bool = False
    plain: tuple[str, ...] = ()


CHATS = {
    "SmolLM2": Chat(CHATML, ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>")),
    "Qwen2.5": Chat(CHATML, ("<|im_start|>", "<|im_end|>", "<|endoftext|>"), ("<tool_call>", "<|fim_prefix|>")),
    "Llama 3": Chat(
        LLAMA_3,
        ("<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        plain=("Date:",),
    ),
    "Gemma": Chat(
        GEMMA,
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        ("\n\n", "▁▁", "<b>", "<unused7>"),
        marked_blanks=True,
    ),
    "Mistral": Chat(MISTRAL, ("<s>", "</s>", "<unk>", "[INST]", "[/INST]", "[TOOL_CALLS]"), marked_blanks=True),
    "Llama 2": Chat(
        LLAMA_2, ("<s>", "</s>", "<unk>"), marked_blanks=True, plain=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
    ),
    "Vicuna": Chat(VICUNA, ("<s>", "</s>", "<unk>"), marked_blanks=True, plain=("USER:", "ASSISTANT:")),
}


def write_chat(chat: Chat, folder: Path, normalized: bool = False) -> Path:
    """A model directory with this chat format and no weights. `normalized`: its tokenizer rewrites a text by NFKC
    before it looks for special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer(chat, normalized).save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": chat.special[0],
        "eos_token": chat.special[1],
        "chat_template": chat.template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text("{}")
    return folder


def _tokenizer(chat: Chat, normalized: bool) -> Tokenizer:
    if chat.marked_blanks:
        letters = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
        vocabulary = {letter: number for number, letter in enumerate(letters)}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.decoder = decoders.ByteFallback()
    else:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
        tokenizer.normalizer = normalizers.NFKC() if normalized else normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=normalized, special=True) for text in chat.special])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in chat.added])
    return tokenizer
