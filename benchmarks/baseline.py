"""How llama.cpp's own server is asked where it stands beside ours: for no more work than our engine asks of it.

At temperature 0 alone it sorts a vocabulary for samplers that then change nothing, and it remembers prompts.
"""

from typing import Any

# the likeliest token, as `minikin.engine.llamacpp_engine` asks for it; a test holds the two together
LIKELIEST: dict[str, Any] = {
    "temperature": 0,
    "samplers": ["penalties", "top_k"],  # penalties of none are left out by llama.cpp
    "top_k": 1,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
FORGETFUL: dict[str, Any] = {"cache_prompt": False}  # of prompts that came before, as our engine asks
