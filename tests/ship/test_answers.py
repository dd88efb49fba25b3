"""The GGUF file answers in llama.cpp as the member does here, and foreign members as in Transformers."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, member, tokenizer
from gguf import quants
from torch.nn import functional
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

from minikin.model.config import FULL, SLIDING
from minikin.model.generate import generate
from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.types import stored_type
from minikin.text.chat import Message, chat_template, encode_prompt
from minikin.text.tokenizer import Tokenizer

TWO_LAYERS = {
    "two layers": replace(TINY, num_hidden_layers=2, layer_types=(SLIDING, FULL)),
    "two full layers": replace(TINY, num_hidden_layers=2, layer_types=(FULL, FULL)),
}
ALL = SHAPES | TWO_LAYERS
every_shape = pytest.mark.parametrize("config", ALL.values(), ids=ALL)
# one within the window of 5 tokens, one past it, one so long that the window has moved on by far
PROMPTS = [[2, 9, 40], [2, *range(20, 30)], [2, *range(250, 290)]]
LAYERS = [SLIDING, SLIDING, FULL, SLIDING, SLIDING, FULL]
FOREIGN = {
    "wide full heads": {"global_head_dim": 16},
    "equal heads": {"global_head_dim": 8},
    "shared caches": {"global_head_dim": 16, "num_kv_shared_layers": 3},
    "shared caches, one of each": {
        "global_head_dim": 16,
        "num_kv_shared_layers": 2,
        "layer_types": [SLIDING, FULL] * 3,
    },
    "all full, shared": {"global_head_dim": 16, "num_kv_shared_layers": 4, "layer_types": [FULL] * 6},
    "double width": {"global_head_dim": 16, "num_kv_shared_layers": 3, "use_double_wide_mlp": True},
    "all at once": {
        "global_head_dim": 32,
        "num_kv_shared_layers": 3,
        "use_double_wide_mlp": True,
        "final_logit_softcapping": 2.0,
        "num_key_value_heads": 1,
    },
    # without shared caches: with them, Transformers 5.24 itself fails on a model without tables
    "no tables": {"global_head_dim": 16, "hidden_size_per_layer_input": 0},
}


def foreign(folder, **changes):
    """A random Gemma 4 as Transformers saves it, none of whose weights is small or one."""
    settings = {
        "vocab_size": 300,
        "vocab_size_per_layer_input": 300,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "hidden_size_per_layer_input": 16,
        "layer_types": LAYERS,
        "sliding_window": 5,
        "max_position_embeddings": 64,
    }
    model = Gemma4ForCausalLM(Gemma4TextConfig(**settings | changes)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(t for name, t in model.named_buffers() if name.endswith("layer_scalar"))):
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    model.save_pretrained(folder)
    tokenizer(300).save(folder, 64, chat_template())
    return model


@torch.no_grad()
def greedy(model, prompt, count):
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.fixture
def gelu_of_llama_cpp(monkeypatch):
    """llama.cpp looks GELU up in a table of float16; with the same table here, nothing else may differ."""
    exact = functional.gelu

    def looked_up(x, approximate="none"):
        found = exact(x.half().float(), approximate=approximate).half().float()
        return torch.where(x.abs() < 10, found, x.clamp(min=0))

    monkeypatch.setattr(functional, "gelu", looked_up)


@torch.no_grad()
def log_probabilities(decoder, tokens):
    tokens = torch.tensor([tokens])
    hidden = decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
    return torch.log_softmax(decoder.logits(hidden)[0, -1], -1)


def furthest(engine, tokens, expected):
    """The largest difference of any token's log probability."""
    return max(abs(float(expected[token]) - value) for token, value in engine.log_probabilities(tokens, len(expected)))


def agree(distances):
    """That two differ by sums in another order and by nothing else.

    Then the table of GELU is asked for numbers that differ by 1e-7, and now and then, on every processor for other
    prompts, such a pair falls on both sides of a float16 border: that prompt is 1e-4 to 1e-3 off, others 1e-6 to 1e-5.
    """
    return min(distances) < 1e-4 and max(distances) < 3e-3


@every_shape
@pytest.mark.usefixtures("gelu_of_llama_cpp")
def test_llama_cpp_answers_as_the_member_does(config, tmp_path):
    decoder = member(tmp_path, config)
    with LlamaCpp(export(tmp_path, None, "f32").path, "f32", context=256) as engine:
        for prompt in PROMPTS:
            assert engine.greedy(prompt, 20, config.eos_token_ids) == generate(decoder, [prompt], 20)[0]
        assert agree([furthest(engine, prompt, log_probabilities(decoder, prompt)) for prompt in PROMPTS])


@every_shape
def test_only_near_ties_fall_to_the_table_of_gelu(config, tmp_path):
    decoder = member(tmp_path, config)
    with LlamaCpp(export(tmp_path, None, "f32").path, "f32", context=256) as engine:
        for prompt in PROMPTS:
            said, expected = engine.greedy(prompt, 20, config.eos_token_ids), generate(decoder, [prompt], 20)[0]
            apart = next((at for at, pair in enumerate(zip(said, expected, strict=False)) if len(set(pair)) > 1), None)
            if apart is not None:
                first, second = log_probabilities(decoder, prompt + expected[:apart]).topk(2).values
                assert first - second < 1e-2
            assert furthest(engine, prompt, log_probabilities(decoder, prompt)) < 1e-2


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.usefixtures("gelu_of_llama_cpp")
def test_llama_cpp_answers_as_transformers_does(changes, tmp_path):
    model = foreign(tmp_path, **changes)
    with LlamaCpp(export(tmp_path, None, "f32").path, "f32", context=256) as engine:
        distances = []
        for prompt in PROMPTS:
            with torch.no_grad():
                expected = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], -1)
            distances.append(furthest(engine, prompt, expected))
            assert engine.greedy(prompt, 20) == greedy(model, prompt, 20)
        assert agree(distances)


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
@torch.no_grad()
def test_a_rounded_member_is_scored_as_its_file(kind, tmp_path):
    config = replace(TINY, intermediate_size=64, hidden_size_per_layer_input=32, head_dim=16)
    decoder = member(tmp_path, config)
    path = export(tmp_path, None, kind).path
    before = log_probabilities(decoder, PROMPTS[1])
    for name, tensor in decoder.state_dict().items():
        type_ = stored_type(name, tensor.shape, kind)
        tensor.copy_(torch.from_numpy(quants.dequantize(quants.quantize(tensor.numpy(), type_), type_)))
    with LlamaCpp(path, "f32", context=256) as engine:
        error, all_of_it = (
            furthest(engine, PROMPTS[1], expected) for expected in (log_probabilities(decoder, PROMPTS[1]), before)
        )
    # llama.cpp rounds activations, too, to the precision of the weights; that is all that may be left
    assert error < min(all_of_it, 0.1)


def test_rows_beyond_the_tokenizer_are_no_text(tmp_path):
    decoder = member(tmp_path, replace(TINY, vocab_size=320))
    tokenizer(300).save(tmp_path, 64, chat_template())
    with LlamaCpp(export(tmp_path, None, "f32").path, "f32", context=256) as engine:
        assert len(engine.log_probabilities([2, 310], 400)) == decoder.config.vocab_size
        assert engine.tokenize("[PAD310]", parse_special=True) != [310]


def test_a_chat_begins_once(tmp_path):
    member(tmp_path)
    conversation = [Message(role="user", content="Hallo!"), Message(role="assistant", content="Ja?")]
    conversation.append(Message(role="user", content="Gut."))
    with LlamaCpp(export(tmp_path, None, "f32").path, "f32", context=256) as engine:
        found = engine.tokenize(engine.prompt(conversation), add_special=True, parse_special=True)
    assert found == encode_prompt(Tokenizer.load(tmp_path), conversation)
    assert found.count(2) == 1
