"""A trained member answers in llama.cpp as here: token for token in float32, but for near ties in float16."""

import io
import tomllib
from pathlib import Path

import pytest
import torch
from rich.console import Console

from minikin.base.log import Log
from minikin.family.build import build
from minikin.family.reading import checked
from minikin.model.checkpoint import load
from minikin.model.generate import generate
from minikin.ship.check import check
from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp
from minikin.text.chat import asked, encode_prompt
from minikin.text.tokenizer import Tokenizer
from minikin.text.village import village

# rows are whole blocks of 32, so that eight bits are eight bits
RECIPE = """
name = "trained"
threads = 1
[data.translation]
train = ["village:3000"]
test = ["village:20"]
[tokenizer]
vocab_size = 1024
[member.only.shape]
hidden_size = 64
num_hidden_layers = 3
intermediate_size = 128
num_attention_heads = 4
num_key_value_heads = 2
head_dim = 32
hidden_size_per_layer_input = 32
sliding_window = 16
[member.only.train]
tokens = 1.2e6
[measure]
max_examples = 20
resamples = 20
[quantize.q8_0]
"""
LONGEST, NEAR = 24, 1e-2


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    build(checked(tomllib.loads(RECIPE), "recipe"), folder, Log(folder / "log.jsonl", Console(file=io.StringIO())))
    return folder


class Answers:
    """Fifty prompts and our greedy answers."""

    def __init__(self, folder: Path) -> None:
        self.decoder, tokenizer = load(folder).eval(), Tokenizer.load(folder)
        sources = [record.source for record in village("translation", 50, split="test", seed=7)]
        self.prompts = [encode_prompt(tokenizer, asked(f"Translate to German: {source}", "")[:1]) for source in sources]
        self.said = generate(self.decoder, self.prompts, LONGEST)
        self.ends = self.decoder.config.eos_token_ids

    def in_llamacpp(self, path, cache):
        with LlamaCpp(path, cache, context=256) as engine:
            return [engine.greedy(prompt, LONGEST, self.ends) for prompt in self.prompts]

    @torch.no_grad()
    def gap(self, row, at):
        """How far our two likeliest tokens are apart."""
        tokens = torch.tensor([[*self.prompts[row], *self.said[row][:at]]])
        hidden = self.decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
        first, second = self.decoder.logits(hidden[:, -1]).topk(2).values[0].tolist()
        return first - second


@pytest.fixture(scope="module")
def answers(family):
    return Answers(family / "only")


def test_the_member_has_learned_to_answer(answers):
    assert sum(map(len, answers.said)) > 300
    assert len({tuple(said) for said in answers.said}) > 40


def test_float32_says_the_same_on_fifty_prompts(family, answers, tmp_path):
    path = export(family / "only", tmp_path, "f32").path
    assert answers.in_llamacpp(path, "f32") == answers.said


def test_float16_says_the_same_but_at_near_ties(family, answers, tmp_path):
    path = export(family / "only", tmp_path, "f16").path
    for row, (ours, theirs) in enumerate(zip(answers.said, answers.in_llamacpp(path, "f16"), strict=True)):
        if ours != theirs:
            longest = max(len(ours), len(theirs))
            pairs = enumerate(zip(ours + [-1] * longest, theirs + [-1] * longest, strict=False))
            at = next(at for at, (one, other) in pairs if one != other)
            assert answers.gap(row, at) < NEAR


def test_eight_bits_agree_along_our_answers(family, answers, tmp_path):
    exported = export(family / "only", tmp_path, "q8_0")
    assert not exported.fallbacks
    same = total = 0
    with LlamaCpp(exported.path, context=256) as engine:
        for prompt, said in zip(answers.prompts, answers.said, strict=True):
            for at, token in enumerate(said):
                same += engine.log_probabilities([*prompt, *said[:at]], 1)[0][0] == token
                total += 1
    assert same / total >= 0.99


def test_every_check_passes(family):
    made = list(check(family / "only"))
    assert [each for each in made if each.verdict != "passed"] == []
    assert len(made) == 14


def test_the_report_tells_what_rounding_keeps(family):
    text = (family / "report.html").read_text()
    assert "Rounded weights" in text
    assert "q8_0" in text
