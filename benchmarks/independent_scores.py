"""The tasks' scores computed a second time, from their definitions and by other people's scorers.

scikit-learn for classes and pairs, seqeval for spans, sacrebleu for BLEU, the official SQuAD normalisation for answers.
Nothing of `distill_or_annotate` is imported: what agrees with this agrees with somebody else.
"""

from __future__ import annotations

import collections
import itertools
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]

# Class 0 first, as in the reference implementation.
CLASSES = {
    "fever": ["REFUTES", "SUPPORTS"],
    "multipit_id": ["NO", "YES"],
    "stanceosaurus": ["IRRELEVANT", "SUPPORTING", "REFUTING", "DISCUSSING", "QUERYING"],
}
TYPES = [
    "AMOUNT", "REAGENT", "DEVICE", "TIME", "SPEED", "ACTION", "MENTION", "LOCATION", "NUMERICAL", "METHOD",
    "TEMPERATURE", "MODIFIER", "CONCENTRATION", "SIZE", "GENERIC-MEASURE", "SEAL", "MEASURE-TYPE", "MISC", "PH", "UNIT",
]  # fmt: skip


def score(task: str, mode: str, rows: Sequence[Row], predictions: Sequence[str], bert: Callable | None = None) -> dict:
    """Scores predictions.

    Args:
      task: wlp, stanceosaurus, fever, multipit_id, multipit_gen or natural_questions.
      mode: fair or paper.
      rows: source, target and optionally targets, [n].
      predictions: predictions, [n].
      bert: (predictions, references) to BERTScore F1, [n] each; for multipit_gen.

    Returns:
      Name of each part to percent; the first is the score.
    """
    if task in CLASSES:
        return _classes(task, mode, rows, predictions)
    if task == "wlp":
        return _paper_entities(rows, predictions) if mode == "paper" else _fair_entities(rows, predictions)
    if task == "natural_questions":
        return _answers(mode, rows, predictions)
    return _paraphrases(mode, rows, predictions, bert)


def _classes(task: str, mode: str, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    words = CLASSES[task]
    elsewhere = words[0] if mode == "paper" else "(none)"
    gold = [row["target"].strip().upper() for row in rows]
    guess = [text.strip().upper() for text in predictions]
    guess = [text if text in words else elsewhere for text in guess]
    parts = {
        "accuracy": accuracy_score(gold, guess),
        "macro_f1": f1_score(gold, guess, labels=words, average="macro", zero_division=0),
        "micro_f1": f1_score(gold, guess, labels=words, average="micro", zero_division=0),
    }
    first = "accuracy" if task != "stanceosaurus" else "macro_f1" if mode == "fair" else "micro_f1"
    return {name: 100 * float(parts[name]) for name in (first, *(set(parts) - {first}))}


def _closes(token: str) -> str | None:
    kind = token[1:-1].upper()
    return kind if {"[", "]"} <= set(token) and kind in TYPES else None


def _chunks(text: str) -> list[tuple[list[str], str]]:
    """Words and type of each entity."""
    found: list[tuple[list[str], str]] = []
    words: list[str] = []
    for token in text.split():
        if kind := _closes(token):
            found.append((words, kind))
            words = []
        else:
            words = [*words, token]
    return found


def _paper_entities(rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import f1_score

    def as_dict(text: str) -> dict[str, str]:
        tokens = text.split()
        ends = [i for i, token in enumerate(tokens) if _closes(token)]
        starts = [0, *(end + 1 for end in ends)]
        # The reference's slice stops one short of the closing token, and -1 is the place before the last.
        return {
            " ".join(tokens[slice(start, end - 1)]): _closes(tokens[end])
            for start, end in zip(starts, ends, strict=False)
        }

    gold, guess = [], []
    for row, prediction in zip(rows, predictions, strict=True):
        answered = as_dict(prediction)
        for text, kind in as_dict(row["target"]).items():
            gold.append(kind)
            guess.append(answered.get(text, "AMOUNT"))
    return {"entity_f1": 100 * f1_score(gold, guess, labels=TYPES, average="micro", zero_division=0)}


def _fair_entities(rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, float]:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from sklearn.metrics import precision_recall_fscore_support

    gold, guess = [], []
    tags: tuple[list, list] = ([], [])
    for row, prediction in zip(rows, predictions, strict=True):
        both = [_chunks(text) for text in (row["target"], prediction)]
        counts = [collections.Counter((" ".join(words), kind) for words, kind in chunks) for chunks in both]
        for entity in counts[0] | counts[1]:
            # One column for each copy of an entity.
            for copy in range(max(count[entity] for count in counts)):
                gold.append(copy < counts[0][entity])
                guess.append(copy < counts[1][entity])
        for side, sequence in zip(tags, _tagged(row["source"], both), strict=True):
            side.append(sequence)
    found = (0.0, 0.0, 0.0)
    if gold:
        found = precision_recall_fscore_support(gold, guess, average="binary", pos_label=True, zero_division=0)
    return {
        "entity_f1": 100 * float(found[2]),
        "entity_precision": 100 * float(found[0]),
        "entity_recall": 100 * float(found[1]),
        "span_f1": 100 * float(f1_score(*tags, zero_division=0)),
        "span_precision": 100 * float(precision_score(*tags, zero_division=0)),
        "span_recall": 100 * float(recall_score(*tags, zero_division=0)),
    }


def _tagged(source: str, both: Sequence[Sequence[tuple[list[str], str]]]) -> list[list[str]]:
    """BIO tags of the source's characters, white space left out; entities without a place have a tag of their own."""
    letters = re.sub(r"\s+", "", source)
    # Words, numbers and single marks of the source, as places between its characters.
    borders, place = {0}, 0
    for (is_word, is_number), run in itertools.groupby(source, key=lambda c: (c.isalpha(), c.isdecimal())):
        marks = [c for c in run if not c.isspace()]
        borders |= {place, place + len(marks)} if is_word or is_number else set(range(place, place + len(marks) + 1))
        place += len(marks)
    tagged, lost = [], []
    for chunks in both:
        tags, strays, cursor = ["O"] * len(letters), [], 0
        for words, kind in chunks:
            word = "".join(words)
            places = [m.start() for m in re.finditer(f"(?={re.escape(word)})", letters)] if word else []
            free = [p for p in places if set(tags[p : p + len(word)]) == {"O"}]
            ahead = [p for p in free if p >= cursor]
            whole = [p for p in ahead if {p, p + len(word)} <= borders]
            if not free:
                strays.append(f"B-{kind}")
                continue
            start = (whole or ahead or free)[0]
            tags[start : start + len(word)] = [f"B-{kind}", *[f"I-{kind}"] * (len(word) - 1)]
            cursor = max(cursor, start + len(word))
        tagged.append(tags)
        lost.append(strays)
    (gold, guess), (gold_lost, guess_lost) = tagged, lost
    return [
        [*gold, *gold_lost, *["O"] * len(guess_lost)],
        [*guess, *["O"] * len(gold_lost), *guess_lost],
    ]


def squad_normal(text: str) -> str:
    """Returns `text` in lower case, then without punctuation, then without articles, then with single spaces."""
    kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _answers(mode: str, rows: Sequence[Row], predictions: Sequence[str]) -> dict[str, float]:
    def f1(answer: str, prediction: str) -> float:
        words = [squad_normal(text).split() for text in (answer, prediction)]
        rest, same = list(words[0]), 0
        for word in words[1]:
            if word in rest:
                rest.remove(word)
                same += 1
        if not same:
            return 0.0
        precision, recall = same / len(words[1]), same / len(words[0])
        return 2 * precision * recall / (precision + recall)

    scores, matches = [], []
    for row, prediction in zip(rows, predictions, strict=True):
        accepted = [row["target"]] if mode == "paper" else [row["target"], *row.get("targets", [])]
        scores.append(max(f1(answer, prediction) for answer in accepted))
        matches.append(squad_normal(prediction) in {squad_normal(answer) for answer in accepted})
    return {"token_f1": 100 * sum(scores) / len(rows), "exact_match": 100 * sum(matches) / len(rows)}


def _paraphrases(mode: str, rows: Sequence[Row], predictions: Sequence[str], bert: Callable) -> dict[str, float]:
    import sacrebleu

    paper = mode == "paper"
    if paper:
        predictions = ["no prediction" if not text.strip() else text for text in predictions]
    references = [[row["target"]] if paper or "targets" not in row else row["targets"] for row in rows]
    closeness = [
        float(value) if text.strip() else 0.0
        for value, text in zip(bert(predictions, references), predictions, strict=True)
    ]
    total = collections.Counter()
    for row, prediction, near in zip(rows, predictions, closeness, strict=True):
        other = row["target"] if paper else row["source"]
        bleu = sacrebleu.sentence_bleu(
            prediction, [other], smooth_method="none", use_effective_order=not paper, tokenize="13a"
        )
        self_bleu = min(bleu.score, 100.0) / 100
        added = 1e-5 if paper else 0.0
        meaning, novelty = near + added, 1 - self_bleu + added
        if meaning > 0 and novelty > 0:
            total["bert_ibleu"] += ((4 * meaning**-1 + 1 * novelty**-1) / (4 + 1)) ** -1
        total["self_bleu"] += self_bleu
        total["bert_score"] += near
        total["copied"] += " ".join(prediction.split()).casefold() == " ".join(other.split()).casefold()
    return {name: 100 * total[name] / len(rows) for name in ("bert_ibleu", "self_bleu", "bert_score", "copied")}
