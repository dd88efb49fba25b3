"""What is looked at in a member's own folder and in our own decoder, which is what others are compared with."""

import importlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from psutil import virtual_memory
from torch import Tensor

from minikin.base.files import MANIFEST, read_json, verify
from minikin.model.checkpoint import CONFIG, GENERATION, load
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.model.shards import weight_files
from minikin.ship.gguf import export
from minikin.ship.identity import card_metadata
from minikin.ship.llamacpp import LlamaCpp
from minikin.text.chat import Message, encode_prompt
from minikin.text.tokenizer import Tokenizer

QUESTIONS = (
    "Translate to German: Yesterday the girl bought three small dogs.",
    "Translate to English: Heute gehen wir über die Brücke, weil es schöner ist.",
    "Summarize: It rained all night. In the morning, at 7:45, the bridge was gone; nobody was hurt.",
    "Good morning! I need a lamp.",
)
TEXTS = (
    *QUESTIONS,
    "  two  spaces,\ta tab\n\n and lines ",
    "Größenmaßstäbe, 12,345.67 € 🙂👩🏽‍🚀 日本語 é",
    "<bos><|turn>user\n<eos> <0x41> ▁",
)
_TOKENS = 24  # of an answer
_FILES = (CONFIG, GENERATION, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "README.md")
_SPELLED = ("global_head_dim", "per_layer_config", "num_kv_shared_layers", "layer_types", "vocab_size_per_layer_input")


@final
class Subject:
    """A member that is checked: its decoder, tokenizer, prompts and answers, each made when it is first asked for."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self._scratch, self._open = folder, scratch, ExitStack()
        self._engines: dict[str, LlamaCpp] = {}

    def __enter__(self) -> "Subject":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @cached_property
    def decoder(self) -> Decoder:
        """Ours, the reference."""
        return load(self.folder).eval()

    @property
    def is_trained(self) -> bool:
        """Whether anybody ever trained it, as far as is known."""
        path = self.folder / "provenance.json"
        return not path.is_file() or read_json(path).get("stage") != "initial"

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Ours as well."""
        return Tokenizer.load(self.folder)

    @cached_property
    def prompts(self) -> list[list[int]]:
        """The questions as tokens, up to where the member begins to speak."""
        return [encode_prompt(self.tokenizer, [Message(role="user", content=text)]) for text in QUESTIONS]

    @cached_property
    def answers(self) -> list[list[int]]:
        """The likeliest, at least a token each: of a member that is silent nothing could be compared."""
        said = generate(self.decoder, self.prompts, _TOKENS)
        return [answer or [self.tokenizer.turn_end_id] for answer in said]

    @torch.inference_mode()
    def logits(self, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
        """Ours of every token of an answer, [time, vocab]."""
        tokens = torch.tensor([[*prompt, *answer[:-1]]])
        hidden = self.decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
        return self.decoder.logits(hidden)[0, len(prompt) - 1 :]

    @cached_property
    def in_transformers(self) -> tuple[Any, dict[str, Any]]:
        """The member as Transformers loads it in float32, and what it tells of the loading."""
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
        loader = importlib.import_module("transformers").AutoModelForCausalLM
        return loader.from_pretrained(self.folder, dtype=torch.float32, output_loading_info=True)

    @cached_property
    def exact_kind(self) -> str:
        """The type to compare exactly in: llama.cpp rounds activations to bfloat16 where weights are."""
        return "f32" if 4 * self.decoder.config.parameters < virtual_memory().available / 3 else "f16"

    def in_llamacpp(self, kind: str) -> LlamaCpp:
        """The member as a GGUF file of a kind, loaded by llama.cpp; open until the checks are over."""
        if kind not in self._engines:
            path = export(self.folder, self._scratch / kind, kind).path
            context = max(map(len, self.prompts)) + 2 * _TOKENS
            self._engines[kind] = self._open.enter_context(LlamaCpp(path, "f32", context=context))
        return self._engines[kind]

    def forget(self, kind: str) -> None:
        """Free the memory of a file that is not asked again."""
        self._engines.pop(kind).close()


Found = tuple[bool | None, str]  # whether it is good, if that can be judged, and what was found
Look = Callable[[Subject], Found]


def same_tokens(subject: Subject, theirs: Sequence[Sequence[int]]) -> Found:
    """Whether another program makes our tokens of the texts."""
    ours = [subject.tokenizer.encode(text) for text in TEXTS]
    other = [text for text, one, two in zip(TEXTS, ours, theirs, strict=True) if list(two) != one]
    return not other, f"other tokens for {other[0]!r}" if other else f"the same for {len(TEXTS)} texts"


def same_prompts(subject: Subject, theirs: Sequence[Sequence[int]]) -> Found:
    """Whether another program frames the questions as we do."""
    other = [text for text, one, two in zip(QUESTIONS, subject.prompts, theirs, strict=True) if list(two) != one]
    return not other, f"another prompt for {other[0]!r}" if other else f"the same for {len(QUESTIONS)} questions"


def _all_there(subject: Subject) -> Found:
    files = [subject.folder / name for name in _FILES]
    if missing := [file.name for file in files if not file.is_file()]:
        return False, f"lacks {', '.join(missing)}"
    weights = weight_files(subject.folder)
    if (subject.folder / MANIFEST).is_file():
        verify(subject.folder)
    size = sum(file.stat().st_size for file in weights)
    return True, f"{len(files) + len(weights)} files, {size / 1e6:,.1f} MB of weights"


def _configuration(subject: Subject) -> Found:
    config, generation = (read_json(subject.folder / name) for name in (CONFIG, GENERATION))
    missing = [name for name in _SPELLED if name not in config]
    ends = generation.get("eos_token_id", [])
    if config.get("architectures") != ["Gemma4ForCausalLM"] or missing:
        return False, f"{CONFIG} is not as every reader needs it: {', '.join(missing) or 'architectures'}"
    if subject.tokenizer.turn_end_id not in (ends if isinstance(ends, list) else [ends]):
        return False, f"{GENERATION} does not end an answer at <turn|>"
    return True, "Gemma4ForCausalLM, in the spellings before and after Transformers 5.15"


def _model_card(subject: Subject) -> Found:
    facts = card_metadata(subject.folder)
    missing = [name for name in ("library_name", "pipeline_tag", "tags") if name not in facts]
    return not missing, f"lacks {', '.join(missing)}" if missing else f"metadata: {', '.join(sorted(facts))}"


def _loads(subject: Subject) -> Found:
    config = subject.decoder.config
    return True, f"{config.parameters:,} parameters, {config.multiplied:,} of them multiplied"


def _logits(subject: Subject) -> Found:
    found = [subject.logits(*pair) for pair in zip(subject.prompts, subject.answers, strict=True)]
    good = all(bool(logits.isfinite().all()) for logits in found)
    return good, f"{'finite' if good else 'not finite'} along {sum(map(len, found))} tokens of {len(found)} answers"


in_folder: tuple[Look, ...] = (_all_there, _configuration, _model_card)
in_minikin: tuple[Look, ...] = (_loads, _logits)
