"""Scores are sacrebleu's and rouge-score's; a member against itself keeps everything."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest
import torch
from fakes import TINY, decoder_of, tokenizer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from minikin.measure import select as select_module
from minikin.measure.examine import examine
from minikin.measure.limits import limits
from minikin.measure.metrics import chance, metrics_of, reply_f1, scored
from minikin.measure.records import Answer, Interval
from minikin.measure.retention import (
    cost_promise,
    quality_promise,
    ratio_interval,
    resampled,
    score_interval,
    verdict,
)
from minikin.measure.select import by_likelihood, by_likeness, by_likeness_and_gain
from minikin.measure.tasks import questions, selections
from minikin.model.decoding import Decoding
from minikin.model.generate import reply_log_probabilities
from minikin.text.chat import encode_prompt, encode_reply
from minikin.text.records import Dialogue, Selection, Translation, Turn
from minikin.text.village import village

OUTPUTS = ["Der Mann geht in den Wald.", "Die Frau kauft einen roten Apfel.", "Heute regnet es.", "Ja."]
REFERENCES = [
    ("Der Mann geht in den Wald.",),
    ("Die Frau kauft den roten Apfel.", "Eine Frau kauft einen Apfel."),
    ("Es regnet heute.",),
    ("Nein danke.",),
]


def answers(task, outputs=OUTPUTS, hits=(True, True, False, True)):
    return [
        Answer(task=task, example=number, group="", source="a b c", output=output, references=references, hit=hit)
        for number, (output, references, hit) in enumerate(zip(outputs, REFERENCES, hits, strict=True))
    ]


def score(metric, given):
    return metric.score(metric.table(given).sum(0))


@pytest.mark.parametrize(("name", "theirs"), [("bleu", BLEU()), ("chrf", CHRF())])
def test_translation_scores_are_sacrebleus(name, theirs):
    metric = next(metric for metric in metrics_of("translation") if metric.name == name)
    streams = [[references[0] for references in REFERENCES], [(*references, None)[1] for references in REFERENCES]]
    assert score(metric, answers("translation")) == pytest.approx(theirs.corpus_score(OUTPUTS, streams).score)
    assert theirs.get_signature().format().split("|version")[0].split("|", 1)[1] in metric.signature


def test_bleu_is_that_of_the_command_line(tmp_path):
    (tmp_path / "outputs").write_text("\n".join(OUTPUTS) + "\n")
    (tmp_path / "references").write_text("\n".join(references[0] for references in REFERENCES) + "\n")
    command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "references"), "-i", str(tmp_path / "outputs")]
    said = subprocess.run([*command, "-w", "6"], capture_output=True, text=True, check=True).stdout
    single = [replace(answer, references=answer.references[:1]) for answer in answers("translation")]
    assert score(metrics_of("translation")[0], single) == pytest.approx(json.loads(said)["score"], abs=1e-6)


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_summary_scores_are_those_of_rouge_score(name):
    metric = next(metric for metric in metrics_of("summarization") if metric.name == name.lower())
    scorer = RougeScorer([name], use_stemmer=True)
    best = [
        max(scorer.score(reference, output)[name].fmeasure for reference in references)
        for output, references in zip(OUTPUTS, REFERENCES, strict=True)
    ]
    assert score(metric, answers("summarization")) == pytest.approx(100 * numpy.mean(best))


def test_hits_are_counted():
    assert score(metrics_of("dialogue")[0], answers("dialogue")) == 75


def test_reply_f1_shares_words():
    assert reply_f1("The man, a friend", ["man friend"]) == 1
    assert reply_f1("man", ["man friend"]) == pytest.approx(2 / 3)
    assert reply_f1("", ["man"]) == 0


@pytest.mark.parametrize("task", ["translation", "summarization", "dialogue"])
def test_a_text_against_itself_is_perfect_and_a_member_keeps_all_of_itself(task):
    perfect = answers(task, [references[0] for references in REFERENCES], (True,) * 4)
    draws = resampled(range(4), 50, seed=1)
    for metric in metrics_of(task):
        table = metric.table(perfect)
        assert metric.score(table.sum(0)) == pytest.approx(100)
        kept = ratio_interval(table, table, metric.score, draws)
        assert (kept.value, kept.low, kept.high, kept.n) == (1, 1, 1, 4)


def test_an_interval_of_a_mean_is_as_wide_as_statistics_says():
    hits = numpy.random.default_rng(1).random(400) < 0.5
    metric = metrics_of("dialogue")[0]
    table = numpy.column_stack((hits.astype(float), numpy.ones(400)))
    found = score_interval(table, metric.score, resampled(range(400), 4000, seed=2))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 100 * (0.25 / 400) ** 0.5, rel=0.05)
    assert found.low < found.value < found.high


def test_pairing_narrows_the_interval_of_a_ratio():
    generator = numpy.random.default_rng(3)
    hard = generator.random(300)
    full = numpy.column_stack((hard, numpy.ones(300)))
    mini = numpy.column_stack((0.9 * hard, numpy.ones(300)))
    kept = ratio_interval(mini, full, metrics_of("dialogue")[0].score, resampled(range(300), 500, seed=4))
    assert kept.value == pytest.approx(0.9)
    assert kept.high - kept.low < 1e-9


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.96, 0.99, "kept"), (0.90, 0.94, "missed"), (0.94, 0.96, "undecided")]
)
def test_a_promise_is_judged_by_its_interval(low, high, expected):
    interval = Interval(value=(low + high) / 2, low=low, high=high, n=100)
    assert verdict(interval, 0.95) == expected
    weak, strong = interval, Interval(value=1.0, low=1.0, high=1.0, n=100)
    assert quality_promise("translation", 0.95, {"bleu": strong, "chrf": weak}).verdict == expected


def test_the_metric_that_keeps_a_promise_least_decides():
    sure = Interval(value=0.905, low=0.901, high=0.91, n=100)
    unsure = Interval(value=0.91, low=0.86, high=0.95, n=100)
    found = quality_promise("translation", 0.9, {"bleu": sure, "chrf": unsure})
    assert (found.verdict, found.value) == ("undecided", 0.91)


def test_few_examples_decide_nothing():
    assert verdict(Interval(value=1.0, low=1.0, high=1.0, n=19), 0.5) == "undecided"


def test_both_ways_of_a_pair_are_drawn_together():
    drawn = resampled([0, 0, 1, 1, 2, 2], 200, seed=1)
    counts, table = drawn.counts, numpy.ones((6, 2))
    assert score_interval(table, lambda sums: 100 * sums[0] / sums[1], drawn).n == 3
    assert (counts[:, ::2] == counts[:, 1::2]).all()
    assert (counts.sum(1) == 6).all()
    assert len({tuple(row) for row in counts}) > 5


def test_directions_are_scored_each_as_a_corpus():
    given = [replace(answer, group="ab"[number % 2]) for number, answer in enumerate(answers("translation"))]
    metric = metrics_of("translation")[0]
    table, both = scored(metric, given)
    alone = [score(metric, [answer for answer in given if answer.group == group]) for group in "ab"]
    assert both(table.sum(0)) == pytest.approx(sum(alone) / 2)
    assert alone[0] != alone[1]


def test_a_group_that_a_resample_lacks_is_not_in_its_mean():
    given = [replace(answer, group="ab"[number == 3]) for number, answer in enumerate(answers("dialogue"))]
    table, both = scored(metrics_of("dialogue")[0], given)
    assert both(table.sum(0)) == pytest.approx((200 / 3 + 100) / 2)
    assert both(table[:3].sum(0)) == pytest.approx(200 / 3)


def test_chance_is_what_guessing_hits():
    hits, words = metrics_of("dialogue")
    given = [replace(answer, candidates=20) for answer in answers("dialogue")]
    assert chance(hits, given) == pytest.approx(5)
    assert chance(words, given) == 1


def test_the_target_is_an_answer_beside_the_references():
    pair = Translation(source="a", target="b", source_lang="en", target_lang="de", references=("c", "b"))
    (question,) = questions([pair], 3)
    assert question.references == ("b", "c")
    assert question.example == 3


def test_a_cost_is_kept_up_to_its_limit():
    assert cost_promise("memory", 0.25, 0.25).verdict == "kept"
    assert cost_promise("memory", 0.25, 0.2501).verdict == "missed"


def test_a_dialogue_asks_for_its_last_turn():
    turns = tuple(Turn(role="ab"[index % 2], text=f"turn {index}") for index in range(4))
    (question,) = questions([Dialogue(turns=turns)], 0)
    assert question.references == ("turn 3",)
    assert [message.role for message in question.prompt] == ["user", "assistant", "user"]


def test_made_selections_hold_the_true_turn_among_others():
    dialogues = list(village("dialogue", 60, split="test", seed=1))
    for dialogue, selection in zip(dialogues, selections(dialogues, seed=1), strict=True):
        assert isinstance(selection, Selection)
        assert selection.candidates[selection.answer] == dialogue.turns[-1].text
        assert len(set(selection.candidates)) == len(selection.candidates) == 20


def examined(decoder, tokens, asked, batch, select=by_likelihood, **settings):
    settings = Decoding(**{"max_new_tokens": 5} | settings)
    chance = torch.Generator().manual_seed(1)
    quiet = {"select": select, "watch": lambda _: None}
    return examine(decoder, tokens, asked, decoding=settings, generator=chance, batch=batch, **quiet)


def test_answers_follow_the_settings_and_say_whose_prompt_was_cut():
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)
    pairs = [
        Translation(source="ä" * length, target="x", source_lang="de", target_lang="en") for length in (1, 5, 60, 90)
    ]
    asked = list(questions(pairs, 0))
    plain, searched = examined(decoder, tokens, asked, 4), examined(decoder, tokens, asked, 4, num_beams=4)
    assert [answer.cut for answer in plain] == [False, False, True, True]
    assert [answer.output for answer in plain] != [answer.output for answer in searched]


@pytest.mark.parametrize(("taken", "hits"), [(0, True), (1, False), (2, True)])
def test_a_reply_that_stands_twice_is_true_in_both_places(taken, hits):
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)
    context = (Turn(role="a", text="hi"),)
    asked = questions([Selection(context=context, role="b", candidates=("yes", "no", "yes"), answer=2)], 0)
    (found,) = examined(decoder, tokens, list(asked), 1, select=lambda *_: [taken])
    assert found.hit is hits


def test_answers_keep_the_order_of_the_questions_whatever_the_batch():
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)
    pairs = [
        Translation(source="Der Mann " * (1 + index % 3), target="x", source_lang="de", target_lang="en")
        for index in range(7)
    ]
    asked = list(questions(pairs, 0))
    found = [examined(decoder, tokens, asked, batch=size) for size in (1, 3, 7)]
    assert found[0] == found[1] == found[2]
    assert [answer.source for answer in found[0]] == [pair.source for pair in pairs]


def test_limits_divide_all_answers_by_length_and_rarity():
    given = [
        Answer(
            task="dialogue",
            example=index,
            group="",
            source="word " * (1 + index % 10),
            output="",
            references=("x",),
            hit=index % 2 == 0,
        )
        for index in range(200)
    ]
    found = limits(given, given, {"word": 5}, 50, seed=1)
    for by in ("length", "rarity"):
        assert sum(bucket.score.n for bucket in found if bucket.by == by) == 200
    assert len([bucket for bucket in found if bucket.by == "rarity"]) == 1


@pytest.mark.parametrize("select", [by_likelihood, by_likeness, by_likeness_and_gain])
def test_a_choice_does_not_depend_on_what_is_asked_beside_it(select):
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)
    dialogues = [
        Dialogue(turns=(Turn(role="a", text=f"word {n} of"), Turn(role="b", text=f"say {n} and {n * n}")))
        for n in range(6)
    ]
    asked = [question for chosen in selections(dialogues, 1) for question in questions([chosen], 0)]
    prompts = [encode_prompt(tokens, question.prompt) for question in asked]
    together = select(decoder, tokens, asked, prompts)
    alone = [select(decoder, tokens, [one], [prompt])[0] for one, prompt in zip(asked, prompts, strict=True)]
    assert together == alone
    assert len(set(together)) > 1


def test_among_the_nearest_replies_what_they_gain_by_the_conversation_counts(monkeypatch):
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)
    candidates = tuple(f"say {n} and {n * n}" for n in range(9))
    context = (Turn(role="a", text="say it"),)
    (asked,) = questions([Selection(context=context, role="b", candidates=candidates, answer=0)], 0)
    prompt, opening = encode_prompt(tokens, asked.prompt), encode_prompt(tokens, ())
    said = [encode_reply(tokens, text) for text in candidates]
    after, anyway = (reply_log_probabilities(decoder, start, said)[0] for start in (prompt, opening))
    gains = (after - anyway).tolist()
    near = torch.tensor([[float(n in (1, 3, 4, 7, 8)) for n in range(9)]])
    monkeypatch.setattr(select_module, "likeness", lambda *_: near)
    monkeypatch.setattr(select_module, "_GAIN", 1e-4)  # no gain is as much as being near
    assert by_likeness_and_gain(decoder, tokens, [asked], [prompt]) == [max((1, 3, 4, 7, 8), key=gains.__getitem__)]
    monkeypatch.setattr(select_module, "likeness", lambda *_: -near)
    assert by_likeness_and_gain(decoder, tokens, [asked], [prompt]) == [max((0, 2, 5, 6), key=gains.__getitem__)]


def test_replies_that_stand_often_are_looked_at_once(monkeypatch):
    monkeypatch.setattr(select_module, "_GAIN", 10.0)
    decoder, tokens = decoder_of(replace(TINY, vocab_size=420)), tokenizer(420)

    def chosen(candidates):
        context = (Turn(role="a", text="say it"),)
        (asked,) = questions([Selection(context=context, role="b", candidates=candidates, answer=0)], 0)
        (place,) = by_likeness_and_gain(decoder, tokens, [asked], [encode_prompt(tokens, asked.prompt)])
        return candidates[place]

    said = tuple(f"say {number} and {number * number}" for number in range(5))
    assert [chosen((*said, *[each] * 5)) for each in said] == [chosen(said)] * 5


def test_what_needs_no_skill_is_anothers_answer_or_a_documents_first_words():
    def answer(group, reference, source="", task="dialogue"):
        return Answer(task=task, example=0, group=group, source=source, output="", references=(reference,), hit=None)

    f1, rouge = metrics_of("dialogue")[1], metrics_of("summarization")[0]
    said = ["see you", "see you soon", "no"]
    # each is answered by the next of its group: see you soon, no, see you; and x by y
    expected = numpy.mean([100 * 4 / 5, 0, 0])
    assert chance(f1, [answer("a", text) for text in said]) == pytest.approx(expected)
    both = [*(answer("a", text) for text in said), answer("b", "x"), answer("b", "y")]
    assert chance(f1, both) == pytest.approx(expected / 2)
    assert chance(f1, [answer("a", "x"), answer("a", "y")]) == 1
    leading = [answer("", f"sun{n} moon{n}", f"sun{n} moon{n} and much more", "summarization") for n in range(3)]
    assert chance(rouge, leading) == 100


def test_chance_is_a_mean_over_groups_as_the_score_is():
    def told(group, candidates):
        return Answer(
            task="dialogue",
            example=0,
            group=group,
            source="",
            output="",
            references=("x",),
            candidates=candidates,
            hit=True,
        )

    hits = metrics_of("dialogue")[0]
    assert chance(hits, [told("a", 20)] * 9 + [told("b", 2)]) == pytest.approx((5 + 50) / 2)


def test_who_is_alone_in_a_group_is_not_answered_by_itself():
    def told(group, text):
        return Answer(task="translation", example=0, group=group, source="", output="", references=(text,))

    bleu = metrics_of("translation")[0]
    pair = [told("en-de", "Der Mann geht in den Wald."), told("en-de", "Die Frau kauft einen roten Apfel.")]
    assert chance(bleu, [*pair, told("en-fr", "Un homme va dans la forêt.")]) < 50
