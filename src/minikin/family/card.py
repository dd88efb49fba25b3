"""What is written beside a member's weights: its provenance and its model card."""

from dataclasses import asdict
from typing import Any

from minikin import __version__
from minikin.family.site import Site, data_key, teacher_of
from minikin.text.batches import Mixture
from minikin.train.state import Reached


def provenance(site: Site, name: str, reached: Reached, mixture: Mixture, seen: dict[str, float]) -> dict[str, Any]:
    """What a member was made from and how; `seen` is its loss on rows that it was trained on, a task."""
    member, held_out = site.recipe.member[name], reached.curve[-1].held_out
    return {
        "stage": "member",
        "minikin": __version__,
        "recipe": site.recipe.name,
        "parent": member.parent,
        "teacher": teacher_of(member) if member.distill else None,
        "data": data_key(site),
        "seed": site.recipe.seed,
        "steps": reached.steps,
        "tokens": reached.steps * mixture.batch_tokens,
        "training_flops": site.planned[name].training_flops_per_token * reached.steps * mixture.batch_tokens,
        "seconds": reached.seconds,
        "epochs": mixture.epochs(reached.steps),
        "gap": {task: held_out[task] - seen[task] for task in held_out},
        "curve": [asdict(point) for point in reached.curve],
    }


def card(site: Site, name: str, facts: dict[str, Any]) -> str:
    """The model card, with the metadata that the hub reads."""
    config = site.planned[name].config
    origin = f"Cut from `{facts['parent']}`" if facts["parent"] else "Begun with random weights"
    origin += f" and distilled from `{facts['teacher']}`." if facts["teacher"] else " and trained on the data."
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [minikin]\n---\n\n"
        f"# {site.recipe.name} {name}\n\n{origin} {config.parameters:,} parameters, of which {config.multiplied:,} "
        f"are multiplied for a token and {config.looked_up:,} looked up. "
        f"Trained on rows of {facts['tokens']:,} tokens.\n\n"
        "Built with minikin; what it keeps and costs is in the family's report.\n"
    )
