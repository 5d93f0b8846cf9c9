"""What an answer of an annotator must look like to be a label, task by task.

`wlp` takes `words [Type] words [Type]`, a class task one of its label words, other tasks a line of text. What does not
look so is rejected: it is no label, and nothing is guessed in its place.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence

from distill_or_annotate.metrics.entities import closing_type, is_malformed, parse_entities

CLASSES, ENTITIES, TEXT = "classes", "entities", "text"
# Stands in prompts and answers for a sentence without entities: some servers refuse an empty message.
NOTHING = "(none)"
# What models put around an answer.
_WRAPPING = "\"'`“”‘’ \t"
_LABEL_LIKE = re.compile(r"\[[^\[\]\s]+\]")
_ENDINGS = ("_paper", "_pooled", "_mini")
_METRIC_KINDS = {"accuracy": CLASSES, "macro_f1": CLASSES, "entity_f1": ENTITIES}


class FormError(ValueError):
    """A task of which nothing is known here."""


class Rejected(ValueError):
    """An answer that is no label.

    Args:
      reason: `outside` the label set, `malformed`, `invented` words, or `empty`.
      text: what was wrong, for people.
    """

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class LabelForm:
    """A task as an annotator sees it.

    Attributes:
      task: its name.
      kind: `classes`, `entities` or `text`.
      labels: label words or entity types, in the task's order and spelling; () for text.
      about: what is asked, for the instruction; one sentence.
    """

    task: str
    kind: str
    labels: tuple[str, ...]
    about: str

    def read(self, answer: str, source: str) -> str:
        """Turns an answer into a label.

        Args:
          answer: what the annotator wrote.
          source: the item.

        Returns:
          The label in the task's spelling; '' for a sentence without entities.

        Raises:
          Rejected: it is no label of this task.
        """
        text = " ".join(answer.split())
        if not text:
            raise Rejected("empty", "an empty answer")
        return {CLASSES: self._word, ENTITIES: self._entities, TEXT: lambda text, _: text}[self.kind](text, source)

    def shown(self, target: str) -> str:
        """Returns a label as a prompt shows it.

        Args:
          target: a label of the task; '' for a sentence without entities.
        """
        return target if target.strip() else NOTHING

    def _word(self, text: str, source: str) -> str:
        known = {label.upper(): label for label in self.labels}
        word = text.strip(_WRAPPING).rstrip(".").strip(_WRAPPING).upper()
        if word not in known:
            raise Rejected("outside", f"{text[:80]!r} is not among the labels {', '.join(self.labels)}")
        return known[word]

    def _entities(self, text: str, source: str) -> str:
        if text == NOTHING:
            return ""
        types = {label.upper(): label for label in self.labels}
        of_source = set(source.split())
        for found in _LABEL_LIKE.findall(text):
            if found[1:-1].upper() not in types and found not in of_source:
                raise Rejected("outside", f"the type {found} is not among the {len(types)} of {self.task}")
        if is_malformed(text, types):
            raise Rejected("malformed", f"not of the form `words [Type] words [Type]`: {text[:80]!r}")
        # Spaces don't count: models put them before a full stop, or take them away.
        letters = "".join(source.split())
        for words, _ in parse_entities(text, types):
            if "".join(words.split()) not in letters:
                raise Rejected("invented", f"the entity {words[:60]!r} is not in the text")
        tokens = ((token, closing_type(token, types)) for token in text.split())
        return " ".join(f"[{types[kind]}]" if kind else token for token, kind in tokens)


# What is asked, for the instruction; of other tasks it is asked in general.
_ABOUT = {
    "wlp": "Find the named entities in a sentence of a wet-lab protocol, in the order of the text. Write the words of "
    "each entity followed by its type in brackets, and leave out the words that belong to no entity.",
    "stanceosaurus": "Say which stance a tweet, or a reply in its thread, takes towards a claim.",
    "fever": "Say whether what is known supports or refutes a claim.",
    "multipit_id": "Say whether two sentences have the same meaning.",
    "multipit_gen": "Write a paraphrase of a sentence.",
    "natural_questions": "Answer a question in a few words.",
}
_ABOUT_KIND = {
    CLASSES: "Say which of the labels fits a text.",
    ENTITIES: "Find the named entities in a text, in its order. Write the words of each entity followed by its type in "
    "brackets, and leave out the words that belong to no entity.",
    TEXT: "Answer as in the examples, in one line.",
}


def of_spec(task: str, metric: str, labels: Sequence[str]) -> LabelForm:
    """Returns the form that a task's metric and labels tell.

    Args:
      task: name of the task or of a variant of it.
      metric: name of its metric.
      labels: its label words or entity types.
    """
    kind = _METRIC_KINDS.get(metric, TEXT)
    return LabelForm(task, kind, tuple(labels), _ABOUT.get(base_name(task), _ABOUT_KIND[kind]))


def base_name(task: str) -> str:
    """Returns the task of the paper that a name is a mode of: `wlp` for `wlp_paper`.

    Args:
      task: a task's name.
    """
    for ending in _ENDINGS:
        task = task.removesuffix(ending)
    return task


def of_task(task: str, module: str | None = None) -> LabelForm:
    """Returns the form of a task by name.

    Ours are known at once; any other is looked up among the registered ones, which imports SeqIO.

    Args:
      task: its name.
      module: the module that registers a task of one's own.

    Raises:
      FormError: no such task, or no such module; near names are listed.
    """
    from distill_or_annotate.tasks import scoring

    if module is None and (ours := scoring.find(task)):
        return of_spec(task, ours[0].metric, ours[0].labels)
    import importlib

    from distill_or_annotate.quiet import import_quietly

    import_quietly("tensorflow", "seqio")
    from distill_or_annotate.tasks import registry, variants

    try:
        if module:
            importlib.import_module(module)
        spec = registry.get(variants.variant(task))
    except ImportError as error:
        raise FormError(
            f"--task-module: {module!r} cannot be imported: {error}. Fix: name it as Python does."
        ) from None
    except registry.UnknownTask as error:
        near = difflib.get_close_matches(task, _ABOUT, n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise FormError(f"--task: {error}{hint}") from None
    return of_spec(spec.name, spec.metric, spec.labels)
