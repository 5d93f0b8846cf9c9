"""What an answer is worth: a label, an answer that was cut, an error."""

import pytest

from distill_or_annotate.annotators import forms
from distill_or_annotate.annotators.endpoint import Endpoint, Reply
from distill_or_annotate.annotators.token_prices import Usage
from distill_or_annotate.annotators.workers import judge


def _replied(finish_reason, output_tokens):
    return Reply("SUPPORTS", finish_reason, Usage(50, 0, output_tokens), None)


@pytest.mark.parametrize(
    ("reply", "outcome", "retry"),
    [
        (_replied("max_tokens", 3), "truncated", True),
        (_replied("MAX_TOKENS", 3), "truncated", True),
        (_replied("", 16), "truncated", True),
        (_replied("eos", 17), "truncated", True),
        (_replied("error", 3), "server_error", True),
        (_replied("error", 16), "server_error", True),
        (_replied("content_filter", 16), "content_filter", False),
        (_replied("stop", 16), "answered", False),
        (_replied("", 15), "answered", False),
        (Reply("SUPPORTS", "", None, None), "answered", False),
    ],
)
def test_an_answer_that_was_cut_in_whatever_words_is_no_label(reply, outcome, retry):
    verdict = judge(reply, forms.of_task("fever"), "a claim", 16)
    assert (verdict.outcome, verdict.retry) == (outcome, retry)


def test_a_full_answer_without_a_reason_is_asked_for_with_more_room(answering, label, rows):
    def cut(headers):
        usage = {"prompt_tokens": 50, "completion_tokens": 4}
        return 200, {"choices": [{"message": {"content": "Mix [Action]"}, "finish_reason": None}], "usage": usage}, {}

    url, asked = answering(cut)
    settings = {"output_tokens": 4, "n_attempts": 3, "concurrency": 1}
    summary = label(None, rows[4:5], endpoint=Endpoint("rehearsal", base_url=url), settings=settings)
    assert len(asked) == 2 and summary.n_labelled == 1  # of 8 tokens it has 4
