"""The grammar of a search: what is a filter, what is a text, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.reports.search.grammar import (
    MAX_QUERY,
    MAX_TEXT,
    Filter,
    Query,
    SearchError,
    as_text,
    formatted,
    parse,
)

NAMES = {"model", "browser", "f.browser", "is", "since", "expected"}


def texts(*texts: str) -> Query:
    return Query(texts=texts)


def filters(*filters: Filter, texts: tuple[str, ...] = ()) -> Query:
    return Query(filters, texts)


MODEL = Filter("model", "UV-17R")
NOT_EXPECTED = Filter("expected", "", is_excluded=True)


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        ("", texts()),
        (" \t ", texts()),
        ("No ACK", texts("No ACK")),
        ("  No  ACK ", texts("No  ACK")),
        ("TypeError: foo", texts("TypeError: foo")),
        ("http://x/?a=b:c", texts("http://x/?a=b:c")),
        ('Failed to execute "open" on "SerialPort', texts('Failed to execute "open" on "SerialPort')),
        (
            'Unexpected token "<", "<!doctype "... is not JSON',
            texts('Unexpected token "<", "<!doctype "... is not JSON'),
        ),
        ("-1 -x - --expected", texts("-1 -x - --expected")),
        ("-expecteds", texts("-expecteds")),
        ("expected", texts("expected")),
        ("remodel:x", texts("remodel:x")),
        ("(model:x)", texts("(model:x)")),
        ("model", texts("model")),
        (r"C:\temp\model", texts(r"C:\temp\model")),
        ("model:UV-17R", filters(MODEL)),
        ("MODEL:UV-17R", filters(MODEL)),
        ("model:uv-17r", filters(Filter("model", "uv-17r"))),
        ("-model:UV-17R", filters(MODEL._replace(is_excluded=True))),
        ("-expected", filters(NOT_EXPECTED)),
        ("-EXPECTED", filters(NOT_EXPECTED)),
        ("expected:any", filters(Filter("expected", "any"))),
        ('browser:"Chrome 139"', filters(Filter("browser", "Chrome 139"))),
        (r'browser:"a \"b\" \\ \n"', filters(Filter("browser", r'a "b" \ \n'))),
        ('browser:a"b', filters(Filter("browser", 'a"b'))),
        ("model:a:b", filters(Filter("model", "a:b"))),
        ("f.browser:x", filters(Filter("f.browser", "x"))),
        ('"No ACK"', texts("No ACK")),
        ('"No ACK" "block 7"', texts("No ACK", "block 7")),
        ('"undefined" is not valid JSON', texts("undefined", "is not valid JSON")),
        ('"model:x"', texts("model:x")),
        ("no  ack model:UV-17R block 7", filters(MODEL, texts=("no  ack", "block 7"))),
        ("http://x model:UV-17R", filters(MODEL, texts=("http://x",))),
        ('model:UV-17R say "hi" don"t', filters(MODEL, texts=("say", "hi", 'don"t'))),
        ("model:UV-17R - x", filters(MODEL, texts=("- x",))),
        (
            'model:UV-17R browser:"Chrome 139" "No ACK" -expected since:2026-11-01',
            filters(
                MODEL, Filter("browser", "Chrome 139"), NOT_EXPECTED, Filter("since", "2026-11-01"), texts=("No ACK",)
            ),
        ),
        ("model:\u202ex\u200b", filters(Filter("model", "\u202ex\u200b"))),
        ("a\u00a0model:x", filters(Filter("model", "x"), texts=("a",))),
    ],
)
def test_a_query_has_these_filters_and_texts(raw: str, query: Query) -> None:
    assert parse(raw, NAMES) == query
    assert parse(formatted(query), NAMES) == query


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ('"No ACK', 'The quote before No ACK is never closed. Add " where the text ends.'),
        ('model:"UV', "The quote before UV is never closed."),
        ('"', "The quote before the end is never closed."),
        (r'"a\"', r"The quote before a\" is never closed."),
        ('"a"b', 'A space is missing after the quote that closes "a".'),
        ('""', 'There is nothing between the quotes "".'),
        ("model:", "model: has no value. Write it after the colon without a space."),
        ("the model: unknown", "To search for model: itself, put the text in quotes."),
        ('model:""', "model: has no value."),
        ("model:x -foo", "- works only before a filter, such as -model:UV-17R, and in -expected."),
        ('model:x -"a b"', "- works only before a filter"),
        ('"' * 10_000, "A search has at most 500 characters; this one has 10,000."),
        ('"' * MAX_QUERY, 'A space is missing after the quote that closes "".'),
        ("x" * (MAX_TEXT + 1), "A text in a search has at most 200 characters; this one has 201."),
        ("model:x " * 21, "A search has at most 20 filters; this one has 21."),
        ('"a" ' * 6, "A search has at most 5 texts; this one has 6."),
        ("a\0b", "This search contains a character that no text can contain."),
        ("a\ud800b", "This search contains a character that no text can contain."),
    ],
)
def test_a_query_that_cannot_be_read_says_why(raw: str, said: str) -> None:
    with pytest.raises(SearchError) as caught:
        parse(raw, NAMES)
    assert said in str(caught.value)


valid = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
some_filters = st.one_of(st.builds(Filter, st.sampled_from(sorted(NAMES)), valid, st.booleans()), st.just(NOT_EXPECTED))
queries = st.builds(Query, st.lists(some_filters, max_size=4).map(tuple), st.lists(valid, max_size=4).map(tuple))


@given(queries)
def test_a_formatted_query_is_read_as_itself(query: Query) -> None:
    assert parse(formatted(query), NAMES) == query


@given(st.text(st.sampled_from('model:is-"\\ \t\u00a0aé\0expected'), max_size=40) | st.text(max_size=40))
def test_every_text_is_read_or_refused_and_keeps_its_meaning(raw: str) -> None:
    try:
        query = parse(raw, NAMES)
    except SearchError:
        return
    assert parse(formatted(query), NAMES) == query


@given(valid)
def test_a_link_searches_for_exactly_its_text(text: str) -> None:
    assert parse(as_text(text), NAMES) == texts(text)
