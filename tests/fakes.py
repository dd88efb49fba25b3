"""Tiny real things that tests share: a decoder, a tokenizer, packed rows. No mocks."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from rich.console import Console

from minikin.app.cli import main
from minikin.base.log import Log
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.family.site import Site
from minikin.family.store import Store
from minikin.model.checkpoint import save
from minikin.model.config import FULL, SLIDING, Config
from minikin.model.decoder import Decoder, initialized
from minikin.text.batches import Batch, Mixture, PackedCorpus, Share
from minikin.text.chat import Example, chat_template
from minikin.text.corpus import Corpus, write_corpus
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
