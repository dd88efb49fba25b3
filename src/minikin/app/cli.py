"""The command line: what each command is called, takes and explains.

Progress goes to stderr, results to stdout. Errors a user can cause are printed here, on one line.
What needs torch is imported by `app/commands`, which is loaded only when a command runs: `--help` answers at once.
"""

import importlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from minikin import __version__
from minikin.base.errors import EngineError, MinikinError

app = typer.Typer(
    help="Build a family of small language models from one full model, and prove what each member keeps and costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

export = typer.Typer(help="Write a member in the format of another program.", no_args_is_help=True)
app.add_typer(export, name="export")


def _told_version(*, asked: bool) -> None:
    if asked:
        sys.stdout.write(f"minikin {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_told_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """What holds for all commands."""


class EngineName(StrEnum):
    """What may answer."""

    auto = "auto"
    torch = "torch"
    llamacpp = "llama.cpp"


class Dtype(StrEnum):
    """Types that weights are stored in."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe, such as recipes/village.toml.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a field: --set member.nano.distill.tokens=2e6"),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Where the family goes; families/NAME by default.")
]
Member = Annotated[Path, typer.Argument(metavar="MEMBER", help="A member's folder: families/village/nano")]
Answering = Annotated[EngineName, typer.Option("--engine", help="auto is llama.cpp where it is installed and runs.")]
FileKind = Annotated[str, typer.Option("--type", help="Of the GGUF file for llama.cpp: f32, f16, bf16, q8_0, q4_0.")]
Folder = Annotated[Path, typer.Argument(metavar="FAMILY", help="A built family's folder.")]


@app.command()
def build(recipe: RecipeFile, overrides: Overrides = None, out: Out = None) -> None:
    """Build a family, examine it and write its report. Run it again to go on after an interruption."""
    _commands().build(recipe, overrides or [], out)


@app.command()
def plan(
    recipe: RecipeFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,  # noqa: FBT002
) -> None:
    """Count what every member will be and cost, before anything is trained."""
    _commands().plan(recipe, overrides or [], "json" if as_json else "table")


@app.command()
def init(
    recipe: RecipeFile,
    members: Annotated[
        list[str] | None, typer.Argument(metavar="MEMBER…", help="Which ones; all if none is named.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where they go; families/NAME-initial by default.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="What weights are stored in.")] = Dtype.bfloat16,
) -> None:
    """Write members with random weights, whatever their size: for measuring speed and memory before training."""
    _commands().init(recipe, members or [], overrides or [], out, dtype.value)


@app.command()
def evaluate(
    family: Folder,
    overrides: Overrides = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="A test file, or a folder of them, to examine on instead of the recipe's; may be given several times.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where that report goes. Default: in FAMILY/evaluations, named after PATH."
        ),
    ] = None,
) -> None:
    """Examine a built family again, with other settings or on your own test: --set measure.max_examples=1000"""
    _commands().evaluate(family, overrides or [], data or [], out)


@app.command()
def report(
    family: Folder,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FOLDER", help="Keep report and recipe there, without paths of this machine."),
    ] = None,
) -> None:
    """Show the report of a built family, and keep it for others to read if you wish."""
    _commands().report(family, save)


@app.command()
def check(member: Member) -> None:
    """Check that a member is whole, and the same in Transformers and llama.cpp; shows what runs where."""
    _commands().check(member)


@export.command()
def gguf(
    member: Member,
    kind: Annotated[str, typer.Option("--type", help="f32, f16, bf16, q8_0 or q4_0.")] = "q8_0",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="A .gguf file or a folder. Default: MEMBER; a rebuild replaces it."),
    ] = None,
) -> None:
    """Write a GGUF file, which llama.cpp and Ollama run, and a Modelfile beside it."""
    _commands().export_gguf(member, kind, out)


@app.command()
def chat(
    folder: Annotated[Path, typer.Argument(metavar="MEMBER", help="A member's folder, or a family's.")],
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    top_p: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the mass to sample from; 0.95 by default.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=0, help="Number of tokens to sample from; 0 for all.")] = 0,
    min_p: Annotated[float, typer.Option(min=0, max=1, help="Least share of the likeliest token's probability.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(min=0.01, help="Above 1, what was said is less likely.")] = 1.0,
    beams: Annotated[int, typer.Option(min=1, max=64, help="Answers to search side by side; shown when done.")] = 1,
    seed: Annotated[int, typer.Option(help="For sampling.")] = 1,
    engine: Answering = EngineName.auto,
    kind: FileKind = "q8_0",
) -> None:
    """Talk to a member, or compare all: translate this, summarize that, converse. /help tells how, Ctrl-D ends."""
    _commands().chat(
        folder,
        seed,
        top_p,
        engine.value,
        kind.lower(),
        temperature=temperature,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        num_beams=beams,
    )


@app.command()
def serve(
    family: Annotated[Path, typer.Argument(metavar="FAMILY", help="A built family's folder, or one member's.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this computer's own needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="What clients must send; MINIKIN_API_KEY by default.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name by which clients know this server.")
    ] = None,
    engine: Answering = EngineName.auto,
    kind: FileKind = "q8_0",
    slots: Annotated[int, typer.Option(min=1, max=256, help="Answers of a member that are written at once.")] = 8,
    queue: Annotated[int, typer.Option(min=0, max=10_000, help="Questions to a member that may wait.")] = 64,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="To compute with; 0 for all cores.")] = 0,
) -> None:
    """Serve all members through the OpenAI API, with a page to try them. Needs minikin\\[serve]."""
    _serving().serve(
        family,
        host=host,
        port=port,
        key=api_key,
        names=allow_host or [],
        engine=engine.value,
        kind=kind.lower(),
        slots=slots,
        queue=queue,
        threads=threads,
    )


def main() -> None:
    """Entry point: runs a command and answers a user's error with one line."""
    try:
        app()
    except MinikinError as error:
        sys.stderr.write(f"minikin: {error}\n")
        sys.exit(error.exit_code)


def _serving() -> Any:
    # how long OpenMP's helpers spin until they sleep, read when PyTorch is loaded: long enough to the next operation,
    # but not on a core that the server needs meanwhile
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return importlib.import_module("minikin.app.serving")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("minikin"):
            raise
        raise EngineError(f"{error.name} is not installed; pip install 'minikin[serve]'") from error


def _commands() -> Any:
    return importlib.import_module("minikin.app.commands")
