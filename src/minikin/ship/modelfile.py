"""The Modelfile with which Ollama takes a GGUF file: `ollama create NAME -f Modelfile`.

A folder has one, for the file that was last exported to it; an earlier one is replaced.
"""

from collections.abc import Mapping

# the same turns as text/chat_template.jinja, in Go's template language; Ollama itself puts <bos> before them
_TEMPLATE = (
    '{{ range .Messages }}<|turn>{{ if eq .Role "assistant" }}model{{ else }}{{ .Role }}{{ end }}\n'
    "{{ .Content }}<turn|>\n"
    "{{ end }}<|turn>model\n"
)


# what a GGUF file calls the settings of sampling, and what Ollama does
_PARAMETERS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repeat_penalty",
}


def modelfile(file_name: str, context_length: int, sampling: Mapping[str, float], *, chats: bool) -> str:
    """The text of a Modelfile beside this GGUF file; without a chat template, text is passed through.

    Settings of sampling that are not said are Ollama's own.
    """
    template = _TEMPLATE if chats else "{{ .Prompt }}"
    settings = "".join(f"PARAMETER {_PARAMETERS[name]} {value:g}\n" for name, value in sampling.items())
    return (
        f"FROM ./{file_name}\n"
        f'TEMPLATE """{template}"""\n'
        'PARAMETER stop "<turn|>"\n'
        f"{settings}"
        f"PARAMETER num_ctx {context_length}\n"
    )
