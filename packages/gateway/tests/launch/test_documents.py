import pytest

from enterprise_gateway.launch.documents import DocumentError, QuotedText, read_document, read_documents

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)},*{chr(97 + i)},*{chr(97 + i)}]" for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "alias"),
        ("[" * 100 + "]" * 100, "deeper"),
        ("[" + "1," * 30_000 + "]", "more than"),
        ("x" * 2_000_000, "characters"),
        ("!!python/object/apply:os.system [id]", "constructor"),
        ("a: 1\na: 2", "same key twice"),
        ("{1: 2}", "not a text"),
        ("a: \x00", "YAML"),
        ("{a: [}", "line 1"),
    ],
)
def test_what_is_no_plain_bounded_data_is_refused(text, words):
    with pytest.raises(DocumentError, match=words):
        read_document(text)


def test_a_refusal_never_quotes_the_text():
    with pytest.raises(DocumentError) as refusal:
        read_document("a: {topsecret: [}")
    assert "topsecret" not in str(refusal.value)


def test_dates_and_merge_keys_are_texts():
    assert read_document("when: 2026-01-02\n'<<': {a: 1}") == {"when": "2026-01-02", "<<": {"a": 1}}


def test_quoted_texts_are_told_from_plain_ones():
    quoted, plain = read_document("['a', b]")
    assert isinstance(quoted, QuotedText)
    assert not isinstance(plain, QuotedText)


def test_empty_documents_are_left_out():
    assert read_documents("---\na: 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


def test_one_document_is_not_two():
    with pytest.raises(DocumentError, match="several"):
        read_document("a\n---\nb")
