"""The Modelfile with which Ollama takes a GGUF file: `ollama create NAME -f Modelfile`.

A folder has one, for the file that was last exported to it; an earlier one is replaced.
"""

# the same turns as text/chat_template.jinja, in Go's template language; Ollama itself puts <bos> before them
_TEMPLATE = (
    '{{ range .Messages }}<|turn>{{ if eq .Role "assistant" }}model{{ else }}{{ .Role }}{{ end }}\n'
    "{{ .Content }}<turn|>\n"
    "{{ end }}<|turn>model\n"
)


def modelfile(file_name: str, context_length: int, *, chats: bool) -> str:
    """The text of a Modelfile beside this GGUF file; without a chat template, text is passed through."""
    template = _TEMPLATE if chats else "{{ .Prompt }}"
    return (
        f"FROM ./{file_name}\n"
        f'TEMPLATE """{template}"""\n'
        'PARAMETER stop "<turn|>"\n'
        "PARAMETER temperature 0\n"
        f"PARAMETER num_ctx {context_length}\n"
    )
