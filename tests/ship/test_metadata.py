"""A GGUF file says of a member what is true, and no more; so does its name, and the Modelfile beside it."""

import json
import re
from dataclasses import replace

import jinja2
import pytest
from fakes import SHAPES, TINY, member
from gguf import GGUFReader

from minikin import __version__
from minikin.ship.gguf import export, file_of, write_modelfile
from minikin.ship.identity import size_label
from minikin.ship.types import KINDS

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Validating Above Naming Convention"
CONVENTION = re.compile(
    r"^(?P<BaseName>[A-Za-z0-9\s]*(?:(?:-(?:(?:[A-Za-z\s][A-Za-z0-9\s]*)|(?:[0-9\s]*)))*))-"
    r"(?:(?P<SizeLabel>(?:\d+x)?(?:\d+\.)?\d+[A-Za-z](?:-[A-Za-z]+(\d+\.)?\d+[A-Za-z]+)?)"
    r"(?:-(?P<FineTune>[A-Za-z0-9\s-]+))?)?-(?:(?P<Version>v\d+(?:\.\d+)*))"
    r"(?:-(?P<Encoding>(?!LoRA|vocab)[\w_]+))?(?:-(?P<Type>LoRA|vocab))?(?:-(?P<Shard>\d{5}-of-\d{5}))?\.gguf$"
)
CARD = (
    "---\nlicense: apache-2.0\nlanguage: [de, en, no]\ntags: [minikin]\nbase_model: village/full-1\n"
    "datasets:\n- village/stories\n---\n# nano\n"
)


def said(path):
    """What a file says before its weights."""
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def test_the_file_says_what_the_member_is(tmp_path):
    folder = tmp_path / "nano"
    member(folder, replace(TINY, final_logit_softcapping=3.0))
    (folder / "README.md").write_text(CARD)
    (folder / "provenance.json").write_text(json.dumps({"recipe": "village", "parent": "mini", "minikin": "0.1"}))
    fields = said(export(folder, None, "f32").path)
    expected = {
        "general.architecture": "gemma4",
        "general.name": "minikin village nano",
        "general.basename": "minikin-village-nano",
        "general.size_label": size_label(TINY.parameters),
        "general.finetune": "it",
        "general.version": "v1.0",
        "general.license": "apache-2.0",
        "general.languages": ["de", "en", "no"],
        "general.tags": ["minikin"],
        "general.base_model.count": 1,
        "general.base_model.0.name": "full-1",
        "general.base_model.0.organization": "village",
        "general.base_model.0.repo_url": "https://huggingface.co/village/full-1",
        "general.dataset.0.repo_url": "https://huggingface.co/datasets/village/stories",
        "general.quantized_by": f"minikin {__version__}",
        "general.sampling.temp": 0.0,
        "gemma4.context_length": 64,
        "gemma4.embedding_length": 32,
        "gemma4.feed_forward_length": 48,
        "gemma4.block_count": 3,
        "gemma4.attention.head_count": 4,
        "gemma4.attention.head_count_kv": 2,
        "gemma4.attention.key_length": 8,
        "gemma4.attention.value_length_swa": 8,
        "gemma4.attention.sliding_window": 5,
        "gemma4.attention.sliding_window_pattern": [True, True, False],
        "gemma4.attention.shared_kv_layers": 0,
        "gemma4.embedding_length_per_layer_input": 16,
        "gemma4.rope.dimension_count": 8,
        "gemma4.final_logit_softcapping": 3.0,
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.eot_token_id": 5,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
    }
    assert {name: fields.get(name) for name in expected} == expected
    assert len(fields["tokenizer.ggml.tokens"]) == 300
    assert fields["tokenizer.ggml.token_type"][:8] == [3] * 6 + [6] * 2
    assert fields["tokenizer.chat_template"] == (folder / "chat_template.jinja").read_text()


def test_no_soft_cap_is_said_since_llama_cpp_would_assume_one(tmp_path):
    member(tmp_path)
    fields = said(export(tmp_path, None, "f32").path)
    assert fields["gemma4.final_logit_softcapping"] == 0.0


def test_a_member_without_card_says_nothing_that_is_not_known(tmp_path):
    member(tmp_path / "anything 3b")
    fields = said(export(tmp_path / "anything 3b", None, "f32").path)
    assert fields["general.name"] == "anything 3b"
    assert not [name for name in fields if "license" in name or "base_model" in name or "languages" in name]


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_every_file_begins_with_a_sliding_layer(config, tmp_path):
    member(tmp_path, config)
    fields = said(export(tmp_path, None, "f32").path)
    assert any(fields["gemma4.attention.sliding_window_pattern"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["nano", "3b nano", "gemma_3n-E2B.it", "Häuschen 12", "7", "…"])
def test_names_follow_the_convention(name, kind, tmp_path):
    member(tmp_path / name)
    file_name = export(tmp_path / name, None, kind).path.name
    found = CONVENTION.match(file_name)
    assert found, file_name
    assert (found["SizeLabel"], found["Version"], found["Encoding"]) == (
        size_label(TINY.parameters),
        "v1.0",
        kind.upper(),
    )


def test_settings_of_sampling_are_said_as_the_checkpoint_has_them(tmp_path):
    folder = tmp_path / "nano"
    member(folder)
    settings = folder / "generation_config.json"
    drawn = {"do_sample": True, "temperature": 0.7, "top_k": 64, "min_p": 0.1, "repetition_penalty": 1.1}
    settings.write_text(json.dumps(drawn))
    exported = export(folder, tmp_path / "out", "f32")
    found = {name.removeprefix("general.sampling."): value for name, value in said(exported.path).items()}
    expected = {"temp": 0.7, "top_k": 64, "min_p": 0.1, "penalty_repeat": 1.1}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    told = write_modelfile(exported).read_text().splitlines()
    assert "PARAMETER temperature 0.7" in told
    assert "PARAMETER repeat_penalty 1.1" in told
    settings.unlink()
    exported = export(folder, tmp_path / "out", "f32")
    assert not [name for name in said(exported.path) if name.startswith("general.sampling.")]
    assert "temperature" not in write_modelfile(exported).read_text()


@pytest.mark.parametrize("kept", ["file", "settings", "nowhere"])
def test_a_file_is_looked_for_where_it_is_written(tmp_path, kept):
    folder = tmp_path / "nano"
    member(folder)
    template = folder / "chat_template.jinja"
    if kept == "settings":
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template.read_text()}))
    if kept != "file":
        template.unlink()
    assert file_of(folder, "q8_0") == export(folder, None, "q8_0").path


def test_sizes_are_said_as_people_say_them():
    counts = {900: "1K", 45_678: "46K", 262_427: "0.3M", 7_400_000: "7.4M", 270_400_000: "270M", 5_100_000_000: "5.1B"}
    assert {count: size_label(count) for count in counts} == counts


def test_the_modelfile_frames_turns_as_the_template_does(tmp_path):
    member(tmp_path)
    exported = export(tmp_path, tmp_path / "out", "f32")
    text = write_modelfile(exported).read_text()
    assert text.startswith(f"FROM ./{exported.path.name}\n")
    assert text.endswith('PARAMETER stop "<turn|>"\nPARAMETER temperature 0\nPARAMETER num_ctx 64\n')
    # Go's template language, as far as it is used here, in Jinja's words
    words = {
        '{{ if eq .Role "assistant" }}': "{% if message.role == 'assistant' %}",
        "{{ else }}": "{% else %}",
        "{{ range .Messages }}": "{% for message in messages %}",
        "{{ .Role }}{{ end }}": "{{ message.role }}{% endif %}",
        "{{ .Content }}": "{{ message.content }}",
        "{{ end }}": "{% endfor %}",
    }
    template = text.split('"""')[1]
    for go, jinja in words.items():
        assert go in template
        template = template.replace(go, jinja)
    conversation = {
        "messages": [{"role": r, "content": f"{r} says\n"} for r in ("system", "user", "assistant", "user")]
    }
    environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)
    ours = environment.from_string((tmp_path / "chat_template.jinja").read_text())
    expected = ours.render(**conversation, bos_token="", add_generation_prompt=True)
    assert environment.from_string(template).render(**conversation) == expected
