"""Tiny real things that tests share: a decoder, a tokenizer, packed rows, a report. No mocks."""

import io
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import pytest
import torch
from rich.console import Console
from torch.nn import functional

from minikin.app.cli import main
from minikin.base.log import Log
from minikin.engine.asking import Ended
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.family.site import Site
from minikin.family.store import Store
from minikin.measure.records import (
    Answer,
    Bucket,
    CurvePoint,
    Efficiency,
    FamilyReport,
    Interval,
    Kept,
    MemberReport,
    Sample,
    Training,
)
from minikin.measure.retention import quality_promise
from minikin.model.checkpoint import save
from minikin.model.config import FULL, SLIDING, Config
from minikin.model.decoder import Decoder, initialized
from minikin.text.batches import Batch, PackedCorpus
from minikin.text.chat import Example, chat_template
from minikin.text.corpus import Corpus, write_corpus
from minikin.text.mixture import Mixture, Share
from minikin.text.tokenizer import Tokenizer

TINY = Config(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    hidden_size_per_layer_input=16,
    layer_types=(SLIDING, SLIDING, FULL),
    sliding_window=5,
    max_position_embeddings=64,
)

# the shapes that must behave alike: full only, sliding, every grouping of heads, with and without tables
SHAPES = {
    "full": replace(TINY, layer_types=(FULL,) * 3),
    "sliding": TINY,
    "grouped to one": replace(TINY, num_key_value_heads=1),
    "not grouped": replace(TINY, num_key_value_heads=4),
    "no tables": replace(TINY, hidden_size_per_layer_input=0),
    "soft cap": replace(TINY, final_logit_softcapping=3.0),
    "shared keys": replace(
        TINY,
        num_hidden_layers=6,
        layer_types=(SLIDING, FULL) * 3,
        num_kv_shared_layers=2,
        use_double_wide_mlp=True,
        global_head_dim=16,
    ),
}


_VILLAGE = Path(__file__).parents[1] / "recipes" / "village.toml"
_SMALL = [
    "data.translation.train=['village:100', {source = 'village:301', weight = 2.5}]",
    "data.summarization.train=['village:40']",
    "data.dialogue.train=['village:40']",
    "data.text.train=['village:40']",
    "tokenizer.vocab_size=512",
    "measure.max_examples=20",
]


def decoder_of(config: Config = TINY, seed: int = 1) -> Decoder:
    """A decoder none of whose weights is zero, one or small, so that no mistake hides."""
    generator = torch.Generator().manual_seed(seed)
    decoder = initialized(config, generator)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return decoder.eval()


def documents(rows: int, length: int, config: Config = TINY, seed: int = 2) -> Batch:
    """Random rows of two documents each."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(6, config.vocab_size, (rows, length + 1), generator=generator)
    half = length // 2
    positions = torch.cat((torch.arange(half), torch.arange(length - half))).expand(rows, -1)
    owners = (torch.arange(length) >= half).long().expand(rows, -1)
    weights = (torch.rand(rows, length, generator=generator) > 0.3).float()
    replies = torch.zeros(rows, length, dtype=torch.bool)
    return Batch(
        tokens=tokens[:, :-1],
        targets=tokens[:, 1:],
        weights=weights,
        positions=positions,
        documents=owners,
        replies=replies,
    )


def padded(batch: Batch, columns: int) -> Batch:
    """The same with so many columns of padding."""
    fields = vars(batch).items()
    return Batch(**{name: functional.pad(field, (0, columns), value=-(name == "documents")) for name, field in fields})


def corpus(folder: Path, count: int = 60, longest: int = 30, vocab_size: int = 300, seed: int = 3) -> Corpus:
    """Random documents on disk; every second token is an answer."""
    chance = Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [chance.randint(2, longest) for _ in range(count)]
    examples = (
        Example(
            tokens=[chance.randrange(6, vocab_size) for _ in range(length)],
            answer=[index % 2 == 1 for index in range(length)],
        )
        for length in lengths
    )
    write_corpus(folder, examples, vocab_size)
    return Corpus(folder)


def mixture(folder: Path, batch_rows: int = 4, length: int = 16) -> Mixture:
    """Two small corpora, mixed two to one."""
    shares = [
        Share(task=name, name=name, rows=PackedCorpus(corpus(folder / name, seed=seed), length, 0.1), share=share)
        for name, seed, share in (("a", 5, 2.0), ("b", 6, 1.0))
    ]
    return Mixture(shares, batch_rows, seed=7)


def tokenizer(vocab_size: int = 420) -> Tokenizer:
    """Trained on a few lines."""
    lines = ["Der Mann geht in den Wald.\nThe man, 12 years old, sells a cow.", "Grüße aus dem Dorf: schöne Äpfel!"]
    return Tokenizer.train(lines * 50, vocab_size)


def member(folder: Path, config: Config = TINY, seed: int = 1) -> Decoder:
    """A whole member's folder, with a tokenizer of its own vocabulary; returns its decoder."""
    folder.mkdir(parents=True, exist_ok=True)
    decoder = decoder_of(config, seed)
    save(decoder, folder)
    tokenizer(config.vocab_size).save(folder, config.max_position_embeddings, chat_template())
    return decoder


def minikin(capsys, monkeypatch, *words):
    """Exit status, results and complaints of a command."""
    monkeypatch.setattr(sys, "argv", ["minikin", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def site(folder, *overrides):
    """The village's family with little data, in a folder."""
    recipe = read_recipe(_VILLAGE, [*_SMALL, *overrides])
    log = Log(folder / "log.jsonl", Console(file=io.StringIO()))
    return Site(recipe=recipe, planned=plan(recipe), store=Store(folder), log=log)


def interval(value, low=None, high=None, n=100):
    """An interval that is as wide as is said, or has no width."""
    return Interval(value=value, low=value if low is None else low, high=value if high is None else high, n=n)


def answers(task, outputs, references=None):
    """One answer an output, each of an example of its own; the references are the outputs if none are given."""
    told = references or [(output,) for output in outputs]
    return [
        Answer(task=task, example=number, group="", source="a b c", output=output, references=each)
        for number, (output, each) in enumerate(zip(outputs, told, strict=True))
    ]


def _reported(share, scores, limits):
    """A member that keeps a share of what scores 50 BLEU on two sources, and of 5 hits@1, which is chance."""
    kept = {"translation": {"bleu": interval(share)}, "dialogue": {"hits@1": interval(share)}}
    groups = {"one en-de": {"bleu": interval(60 * share)}, "two en-de": {"bleu": interval(40 * share)}}
    curve = [(100, 2.0), (1_000_000, 1.0), (2_000_000, 1.2)]
    return MemberReport(
        parent=None,
        shape=asdict(TINY),
        efficiency=Efficiency(
            parameters=3,
            multiplied=2,
            looked_up=1,
            flops_per_token=4,
            bytes={"16": 6, "8": 3, "4": 2},
            file_bytes=12,
            kv_bytes_per_token=1,
            peak_rss_bytes=9,
            decode_tokens_per_second=1,
            prefill_tokens_per_second=1,
            how="asked",
        ),
        scores=scores,
        retention=kept,
        group_scores={"translation": groups},
        group_retention={"translation": {group: {"bleu": interval(share)} for group in groups}},
        promises=(quality_promise("translation", 0.5, kept["translation"]),),
        training=Training(
            tokens=2_000_000,
            flops=9,
            seconds=1,
            objective="next token",
            gap={"translation": 0.25},
            epochs={"translation one": 1.5},
            kept=Kept(name="step 70", scores={"step 70": 1.0}),
            curve=tuple(CurvePoint(tokens=at, loss=1.0, held_out={"translation": loss}) for at, loss in curve),
        ),
        limits=limits,
        precisions={},
    )


def report():
    """A family of two whose second member keeps half, and least of long inputs."""

    def part(label, share, high):
        score, kept = interval(50 * share), interval(share, share, high)
        return Bucket(task="translation", by="length", label=label, score=score, retention=kept)

    def scores(share):
        hits = interval(5 * share, 3 * share, 8 * share)
        return {"translation": {"bleu": interval(50 * share)}, "dialogue": {"hits@1": hits}}

    return FamilyReport(
        recipe="fake",
        recipe_digest="0" * 64,
        machine={"processor": "slide rule", "threads": 1, "torch": "2"},
        how={},
        chance={"bleu": 1.0, "hits@1": 5.0},
        members={
            "full": _reported(1.0, scores(1.0), (part("1–9", 1.0, 1.0), part("10–20", 1.0, 1.0))),
            "nano": _reported(0.5, scores(0.5), (part("1–9", 0.7, 0.8), part("10–20", 0.3, 0.4))),
        },
        samples=(
            Sample(
                kind="hurts most",
                task="translation",
                source="Das ist <b>alt</b>.",
                reference="This is old.",
                outputs={"full": "This is old.", "nano": "This was <i>new</i>."},
                scores={"full": 100.0, "nano": 30.0},
                hits={},
            ),
        ),
    )


class Heard:
    """A listener of an engine that keeps what it hears."""

    def __init__(self):
        self.tokens, self.end, self._done = [], None, threading.Event()

    def __call__(self, said):
        if isinstance(said, Ended):
            self.end = said
            self._done.set()
        else:
            self.tokens.append(said)

    @property
    def text(self):
        return "".join(token.text for token in self.tokens) + self.end.text

    def wait(self):
        assert self._done.wait(30), "no end was told"
        return [token.id for token in self.tokens]
