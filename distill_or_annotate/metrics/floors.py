"""What can be had without learning to read: answers that a model has to beat before it is worth comparing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from distill_or_annotate.metrics.lookup import LookupTagger

Row = dict[str, Any]


def trivial_floors(
    rows: Sequence[Row], train_rows: Sequence[Row] | None, labels: Sequence[str]
) -> dict[str, list[str]]:
    """Returns the predictions of systems that learn nothing but the most frequent answer.

    Args:
      rows: evaluation rows.
      train_rows: the labels bought; None takes the most frequent answer from the evaluation rows.
      labels: label words for each of which there is a constant system; empty for tasks of free text.
    Returns:
      Name of the floor to its predictions, [n] each: `empty`, `copied_source`, `constant` (the most frequent target,
      or accepted answer) and `constant:LABEL`.
    """
    answers = Counter(answer for row in (train_rows or rows) for answer in {row["target"], *row.get("targets", ())})
    # Of equally frequent answers the smallest, so that the floor does not depend on the order of the rows.
    majority = min(answers, key=lambda answer: (-answers[answer], answer))
    floors = {
        "empty": [""] * len(rows),
        "copied_source": [row["source"] for row in rows],
        "constant": [majority] * len(rows),
    }
    floors |= {f"constant:{label}": [label] * len(rows) for label in labels}
    return floors


def lookup_floor(rows: Sequence[Row], train_rows: Sequence[Row], types: Sequence[str]) -> list[str]:
    """Returns the predictions of a lookup tagger trained on the labels that the model had.

    Args:
      rows: evaluation rows.
      train_rows: the labels bought.
      types: the entity types.
    Returns:
      Predictions, [n].
    """
    tagger = LookupTagger([row["source"] for row in train_rows], [row["target"] for row in train_rows], types)
    return [tagger.tag(row["source"]) for row in rows]


def tfidf_floor(
    rows: Sequence[Row], train_rows: Sequence[Row], labels: Sequence[str], class_weight: str | None = None
) -> list[str]:
    """Returns the predictions of a logistic regression on TF-IDF of words and pairs of words.

    Nothing is tuned: scikit-learn's defaults, but for pairs of words and damped counts. Training targets that are no
    label word are left out.

    Args:
      rows: evaluation rows.
      train_rows: the labels bought.
      labels: the label words.
      class_weight: `balanced` makes the rows of each class weigh as much as those of any other; None each row alike.
    Returns:
      Predictions, [n].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    known = {label.strip().upper(): label for label in labels}
    taught = [
        (row["source"], known[row["target"].strip().upper()])
        for row in train_rows
        if row["target"].strip().upper() in known
    ]
    if not taught:
        return [""] * len(rows)
    sources, targets = map(list, zip(*taught, strict=True))
    if len(set(targets)) == 1:
        return [targets[0]] * len(rows)
    # Every mark and single letter is a word too, so that no text is without one.
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    model = LogisticRegression(max_iter=1000, class_weight=class_weight).fit(vectorizer.fit_transform(sources), targets)
    return [str(label) for label in model.predict(vectorizer.transform([row["source"] for row in rows]))]
