"""llama.cpp alone is asked for what our engine asks it for, so that what it takes to choose a token is alike."""

from baseline import FORGETFUL, LIKELIEST
from fakes import TINY, member

from minikin.engine.asking import Ask
from minikin.engine.llamacpp_engine import _request
from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp

_OURS = _request(Ask(prompt=(20, 21), max_tokens=3))
_CHOOSING = ("samplers", "temperature", "top_k", "repeat_penalty", "presence_penalty", "frequency_penalty", "mirostat")


def test_the_likeliest_token_is_asked_for_as_our_engine_does():
    asked = LIKELIEST | FORGETFUL
    assert {name: _OURS[name] for name in asked} == asked


def test_llama_cpp_understands_it_so(tmp_path):
    member(tmp_path / "tiny", TINY)
    file = export(tmp_path / "tiny", tmp_path / "out", "f16").path
    with LlamaCpp(file) as engine:
        ours, alone = (
            engine._complete((20, 21), 3, more)["generation_settings"]
            for more in (_OURS | {"stream": False}, LIKELIEST | FORGETFUL)
        )
    assert {name: alone[name] for name in _CHOOSING} == {name: ours[name] for name in _CHOOSING}
    assert alone["samplers"] == ["penalties", "top_k"]
