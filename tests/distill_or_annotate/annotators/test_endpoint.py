"""What each failure means for the bill, and that the key is told to nobody."""

import datetime
import email.utils
import json

import pytest

from distill_or_annotate.annotators import endpoint as endpoint_module
from distill_or_annotate.annotators.endpoint import (
    KEY_VARIABLE,
    Endpoint,
    EndpointError,
    Failure,
    read_reply,
    retry_after_seconds,
)
from distill_or_annotate.annotators.token_prices import Usage

ASKED = [{"role": "user", "content": "<item>Mix .</item>"}]
GOOD = {
    "choices": [{"message": {"content": "Mix [Action]"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
}


@pytest.fixture
def ask(serve):
    def run(fault, **server):
        started = serve([{"source": "Mix .", "target": "Mix [Action]"}], faults={fault: 1.0} if fault else {}, **server)
        return Endpoint("rehearsal", base_url=started.url, timeout_seconds=0.5, logprobs=True).complete(ASKED, 20)

    return run


def test_an_answer_comes_with_its_tokens_and_its_probability(ask):
    reply = ask("")
    assert (reply.text, reply.finish_reason) == ("Mix [Action]", "stop")
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens > 0 and 0 < reply.confidence < 1


@pytest.mark.parametrize(
    ("fault", "outcome", "was_billed", "retry"),
    [
        ("rate_limited", "rate_limited", False, True),
        ("server_error", "server_error", None, True),
        ("billed_error", "server_error", None, True),
        ("dropped", "dropped", None, True),
        ("dropped_billed", "dropped", None, True),
        ("timeout", "timeout", None, True),
        ("malformed", "malformed_reply", None, True),
        ("refused", "refused_request", False, False),
        ("moderated", "refused_request", False, False),
    ],
)
def test_a_failure_says_whether_it_was_billed_and_whether_to_try_again(ask, fault, outcome, was_billed, retry):
    with pytest.raises(Failure) as caught:
        ask(fault, timeout_seconds=1.0)
    failure = caught.value
    assert (failure.outcome, failure.was_billed, failure.retry, failure.fatal) == (outcome, was_billed, retry, False)


def test_access_that_is_refused_for_no_reason_of_the_item_refuses_everything(ask):
    with pytest.raises(Failure, match="access is refused") as caught:
        ask("forbidden")
    assert caught.value.fatal and (caught.value.outcome, caught.value.was_billed) == ("status_403", False)


def test_one_call_is_one_request(serve):
    server = serve([], faults={"server_error": 1.0})
    with pytest.raises(Failure):
        Endpoint("rehearsal", base_url=server.url).complete(ASKED, 20)
    assert server.n_requests == 1


def test_a_server_that_is_not_there_billed_nothing():
    with pytest.raises(Failure) as caught:
        Endpoint("rehearsal", base_url="http://127.0.0.1:9/v1").complete(ASKED, 20)
    assert caught.value.was_billed is False and caught.value.retry


def test_the_server_is_waited_for_as_long_as_it_asks(ask):
    with pytest.raises(Failure) as caught:
        ask("rate_limited", retry_after="7")
    assert caught.value.retry_after_seconds == 7


def test_a_refused_key_stops_everything_and_is_not_quoted(serve, monkeypatch):
    server = serve([], key="another")
    with pytest.raises(Failure) as caught:
        Endpoint("rehearsal", base_url=server.url).complete(ASKED, 20)
    key = endpoint_module.os.environ[KEY_VARIABLE]
    assert caught.value.fatal and caught.value.was_billed is False
    assert "the key is refused" in str(caught.value) and "***" in str(caught.value) and key not in str(caught.value)


def test_the_key_is_in_no_representation():
    endpoint = Endpoint("rehearsal", base_url="http://127.0.0.1:9/v1")
    key = endpoint_module.os.environ[KEY_VARIABLE]
    shown = [repr(endpoint), str(endpoint), repr(endpoint.client), json.dumps(endpoint.body(ASKED, 5))]
    assert not any(key in text for text in shown)


@pytest.mark.parametrize("value", ["", "  "])
def test_a_missing_key_is_asked_for(monkeypatch, value):
    monkeypatch.setenv(KEY_VARIABLE, value)
    with pytest.raises(EndpointError, match="export OPENAI_API_KEY="):
        Endpoint("rehearsal")


@pytest.mark.parametrize("around", [" {}", "{}\n", "{}\r\n", "\t{} "])
def test_white_space_around_a_key_is_no_part_of_it(serve, monkeypatch, around):
    server = serve([{"source": "Mix .", "target": "Mix [Action]"}], key="right-key")
    monkeypatch.setenv(KEY_VARIABLE, around.format("right-key"))
    assert Endpoint("rehearsal", base_url=server.url).complete(ASKED, 20).text == "Mix [Action]"


@pytest.mark.parametrize("key", ["sk-xyzzy\nsk-other", "sk-xyzzy\x00", "sk-xyzzy\u2026", "sk-\xe9xyzzy"])
def test_a_key_that_no_request_can_carry_is_refused_and_not_quoted(monkeypatch, key):
    monkeypatch.setattr(endpoint_module.os, "environ", {KEY_VARIABLE: key})
    with pytest.raises(EndpointError, match=r"OPENAI_API_KEY: the key .* export") as caught:
        Endpoint("rehearsal")
    assert "xyzzy" not in str(caught.value)


def test_a_request_that_the_client_refuses_to_write_was_never_sent(answering):
    url, asked = answering(lambda headers: (200, GOOD, {}))
    endpoint = Endpoint("rehearsal", base_url=url)
    endpoint.client = endpoint.client.with_options(default_headers={"X-Broken": "a\rb"})
    with pytest.raises(Failure) as caught:
        endpoint.complete(ASKED, 20)
    assert caught.value.was_billed is False and asked == []


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -0.1, "warm"])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(EndpointError, match=r"--temperature: received .* at least 0"):
        Endpoint("rehearsal", temperature=temperature)


def _quoting(headers):
    choice = {"message": {"content": f"for {headers['Authorization']}"}, "finish_reason": headers["Authorization"]}
    return 200, GOOD | {"choices": [choice]}, {}


def test_a_key_that_an_answer_quotes_is_cut_out_of_it(answering):
    reply = Endpoint("rehearsal", base_url=answering(_quoting)[0]).complete(ASKED, 20)
    assert (reply.text, reply.finish_reason, reply.usage) == ("for Bearer ***", "Bearer ***", Usage(12, 4, 3))


def test_a_key_that_is_a_mere_word_leaves_the_answers_whole(answering, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "any")
    url, _ = answering(lambda headers: (200, GOOD | {"choices": [{"message": {"content": "many"}}]}, {}))
    assert Endpoint("rehearsal", base_url=url).complete(ASKED, 20).text == "many"


def test_a_key_is_cut_out_of_a_message_that_quotes_it_as_json_or_python(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "sk-xy'z\"z\\y")
    endpoint = Endpoint("rehearsal")
    for text in ("sk-xy'z\"z\\y", json.dumps("sk-xy'z\"z\\y"), repr("sk-xy'z\"z\\y")):
        assert "xy" not in endpoint.scrubbed(f"no {text}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_one_request_and_says_where_it_leads(answering, status):
    place = "http://user:xyzzy@elsewhere.example/v2/chat?key=xyzzy"
    url, asked = answering(lambda headers: (status, {}, {"Location": place}))
    with pytest.raises(Failure) as caught:
        Endpoint("rehearsal", base_url=url).complete(ASKED, 20)
    failure = caught.value
    assert len(asked) == 1 and "xyzzy" not in str(failure)
    assert f"{url} sends on to another address, http://elsewhere.example/v2/chat." in str(failure)
    assert (failure.was_billed, failure.retry, failure.fatal) == (False, False, True)


@pytest.mark.parametrize("place", ["", "http://[broken", "/v1/chat/completions"])
def test_a_redirect_to_nowhere_or_to_itself_is_one_request(answering, place):
    url, asked = answering(lambda headers: (307, {}, {"Location": place}))
    with pytest.raises(Failure, match="sends on to another address"):
        Endpoint("rehearsal", base_url=url).complete(ASKED, 20)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "url", ["http://user:xyzzy@host/v1", "https://host/v1?key=xyzzy", "host:80/v1", "ftp://host/v1"]
)
def test_an_address_that_holds_a_secret_or_is_none_is_refused(url):
    with pytest.raises(EndpointError, match="--base-url") as caught:
        Endpoint("rehearsal", base_url=url)
    assert "xyzzy" not in str(caught.value)


def test_the_address_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert Endpoint("rehearsal").address == "http://127.0.0.1:9/v1"


def test_only_what_was_asked_for_is_sent():
    options = {"base_url": "http://127.0.0.1:9/v1", "token_limit_field": "max_tokens", "temperature": 0.0}
    assert Endpoint("m", **options).body(ASKED, 5) == {
        "model": "m", "messages": ASKED, "max_tokens": 5, "temperature": 0.0,
    }  # fmt: skip
    assert set(Endpoint("m").body(ASKED, 5)) == {"model", "messages", "max_completion_tokens"}


def test_a_reply_is_read_with_cached_tokens():
    reply = read_reply(json.dumps(GOOD))
    assert (reply.text, reply.usage, reply.confidence) == ("Mix [Action]", Usage(12, 4, 3), None)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "9"}, 7])
def test_tokens_that_cannot_be_read_are_unknown_not_zero(usage):
    assert read_reply(GOOD | {"usage": usage}).usage is None


@pytest.mark.parametrize(
    ("total", "received"), [(500, 488), (15, 3), (10, 3), (0, 3), (None, 3), ("500", 3), (True, 3), (-9, 3), (5.5, 3)]
)
def test_reasoning_that_stands_in_the_total_alone_is_billed(total, received):
    usage = GOOD["usage"] | {"total_tokens": total}
    assert read_reply(GOOD | {"usage": usage}).usage == Usage(12, 4, received)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"logprob": value}]}
        for value in (None, "many", "nan", [], 1000, 5.0, 10**400, float("inf"), float("-inf"), {"a": 1})
    ]
    + [{"content": content} for content in (7, "x", [None], [{}], {"a": 1}, [{"logprob": 1e308}, {"logprob": 1e308}])]
    + [7, "x", [1]],
)
def test_log_probabilities_that_are_none_leave_the_answer_and_its_bill(logprobs):
    reply = read_reply(GOOD | {"choices": [GOOD["choices"][0] | {"logprobs": logprobs}]})
    assert (reply.text, reply.usage, reply.confidence) == ("Mix [Action]", Usage(12, 4, 3), None)


@pytest.mark.parametrize(("logprob", "confidence"), [(-0.5, 0.6065), (1e-6, 1.0), (-9999.0, 0.0)])
def test_log_probabilities_give_the_confidence(logprob, confidence):
    choice = GOOD["choices"][0] | {"logprobs": {"content": [{"logprob": logprob}]}}
    assert read_reply(GOOD | {"choices": [choice]}).confidence == pytest.approx(confidence, abs=1e-4)


def test_half_a_character_is_no_part_of_a_reply():
    choice = {"message": {"content": "ok \ud83d \U0001f600"}, "finish_reason": "st\ud83dop"}
    reply = read_reply(json.dumps(GOOD | {"choices": [choice]}))
    assert (reply.text, reply.finish_reason) == ("ok \ufffd \U0001f600", "st\ufffdop")
    assert Endpoint("m").scrubbed("no \ud83d") == "no \ufffd"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"choices": []}', b"{}", b'"x"', b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_completion_was_billed_nobody_knows_how_much(content):
    with pytest.raises(Failure) as caught:
        read_reply(content)
    assert (caught.value.outcome, caught.value.was_billed) == ("malformed_reply", None)


def test_a_reply_without_a_message_is_billed_by_its_tokens():
    reply = read_reply({"usage": GOOD["usage"]})
    assert (reply.finish_reason, reply.usage) == ("malformed_reply", Usage(12, 4, 3))


def test_waits_are_read_in_each_of_their_forms():
    soon = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30), usegmt=True
    )
    assert retry_after_seconds({"retry-after": "2.5"}) == 2.5
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert 25 < retry_after_seconds({"retry-after": soon}) <= 30
    assert retry_after_seconds({"retry-after": "86400"}) == 600
    assert retry_after_seconds({"retry-after": "-5"}) == 0
    assert retry_after_seconds({"retry-after": "soon"}) is None and retry_after_seconds({}) is None
