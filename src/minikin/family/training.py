"""One training of a member: from whatever it begins with to the best of its candidates, and what there is to tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minikin.base.device import products_dtype
from minikin.family.guards import WATCHED_ROWS, dropout, held_out, loss_of, task_score, told_guards, weight_decay
from minikin.family.learning import Optimization
from minikin.family.lineage import provenance
from minikin.family.phases import Phase
from minikin.family.site import Site
from minikin.measure.overfitting import parted
from minikin.measure.records import CurvePoint
from minikin.model.compiled import forget
from minikin.model.decoder import Decoder
from minikin.text.batches import Batch
from minikin.text.mixture import Mixture
from minikin.train.candidates import Candidates
from minikin.train.loop import Run, fit
from minikin.train.objective import Objective
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.state import Reached, States

_LOOKS = 10


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is fitted: a decoder, to what, on which rows. `batch_at` is `rows`' own unless rows are made on the way.

    `name` is the member's, `title` what the training is called; `artifact` and `key` say where a killed training
    finds its state again. `phase` is the training as it was planned, `data_share` the part of the rows that is data.
    """

    name: str
    title: str
    artifact: str
    key: str
    phase: Phase
    decoder: Decoder
    objective: Objective
    optimization: Optimization
    rows: Mixture
    steps: int
    batch_at: Callable[[int], Batch]
    data_share: float = 1.0


def steps_of(optimization: Optimization, rows: Mixture) -> int:
    """Steps that take as many tokens as the recipe asks for."""
    return max(1, round(optimization.tokens / rows.batch_tokens))


def trained(site: Site, training: Training) -> dict[str, Any]:
    """Fit the decoder, give it its best weights, and return what its provenance says."""
    decoder, rows = training.decoder, training.rows
    repeats = rows.repeats(_of_data(training, training.steps))
    decoder.dropout.p = dropout(training.optimization, repeats)
    decay = weight_decay(training.optimization, repeats)
    work = site.store.work(training.artifact, training.key)
    candidates = Candidates(work, training.optimization.candidates)
    run = _run(site, training, candidates)
    optimizers = Optimizers(decoder, _schedule(training), decay, training.optimization.clip_norm, run.dtype)
    states = States(work, site.log.say)
    if not states.steps():
        decoder.eval()
        candidates.offer(decoder, 0, run.held_out(decoder))  # a training that only spoils is not kept
    with site.log.bar(f"{training.title}: training", training.steps, states.steps()) as bar:

        def watch(step: int, loss: float, speed: float) -> None:
            bar.at(step, f"loss {loss:.3f} · {speed:,.0f} tokens/s")

        reached = fit(decoder, training.objective, optimizers, run, states, watch)
    _warn(site, training.title, reached)
    forget(decoder)
    decoder.eval()
    kept = candidates.keep_best(decoder, task_score(site))
    recent, unseen = rows.recent(reached.steps, WATCHED_ROWS), run.held_out(decoder)
    seen = {task: loss_of(decoder, batch) for task, batch in recent.items()}
    gap = {task: unseen[task] - seen[task] for task in unseen if task in seen}
    told = provenance(site, training.name, reached, _fitted(training, reached.steps) | {"gap": gap})
    return told | told_guards(decoder, decay, kept)


def _fitted(training: Training, steps: int) -> dict[str, Any]:
    """How much was learned from, and what that cost."""
    tokens = steps * training.rows.batch_tokens
    return {
        "tokens": tokens,
        "training_flops": tokens * training.phase.flops_per_token,
        "epochs": training.rows.epochs(_of_data(training, steps)),
    }


def _of_data(training: Training, steps: int) -> int:
    """As many steps with data alone would show as much of it."""
    return round(steps * training.data_share)


def _warn(site: Site, name: str, reached: Reached) -> None:
    """Say which tasks the member began to learn by heart."""
    curve = [CurvePoint(tokens=point.tokens, loss=point.loss, held_out=point.held_out) for point in reached.curve]
    for told in parted(curve):
        site.log.say(f"warning: {name}: {told}")


def _schedule(training: Training) -> Schedule:
    asked = training.optimization
    return Schedule(peak=asked.learning_rate, steps=training.steps, warmup=asked.warmup, decay=asked.decay)


def _run(site: Site, training: Training, candidates: Candidates) -> Run:
    return Run(
        title=training.title,
        steps=training.steps,
        batch_at=training.batch_at,
        batch_tokens=training.rows.batch_tokens,
        held_out=held_out(site, training.rows),
        offer=lambda decoder, point: candidates.offer(decoder, point.step, point.held_out),
        look_every=-(-training.steps // _LOOKS),
        save_seconds=site.recipe.checkpoint_seconds,
        dtype=products_dtype(site.recipe.precision, site.device),
        seed=site.recipe.seed,
    )
