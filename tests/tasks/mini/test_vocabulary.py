"""The vocabulary fits the language: nothing unknown, nothing cut, one piece for each type."""

import pytest
import sentencepiece

from distill_or_annotate.tasks.mini import grammar, lexicon, splits, vocabulary


@pytest.fixture(scope="module")
def pieces():
    return sentencepiece.SentencePieceProcessor(model_file=str(vocabulary.PATH))


def test_there_are_1024_ids_with_the_sentinels(pieces):
    assert pieces.vocab_size() == vocabulary.N_PIECES
    assert vocabulary.vocabulary().vocab_size == vocabulary.N_PIECES + vocabulary.N_SENTINELS == 1024
    assert (pieces.pad_id(), pieces.eos_id(), pieces.unk_id()) == (0, 1, 2)


def test_each_type_label_word_and_closed_word_is_one_piece(pieces):
    for text in (*vocabulary.LABEL_WORDS, *grammar.CLOSED_WORDS):
        assert pieces.encode(text, out_type=str) == [f"▁{text}"]
    for name in lexicon.TYPES:
        assert pieces.encode(f"x [{name}]", out_type=str)[-1] == f"▁[{name}]"


def test_open_words_are_one_piece_or_onset_and_ending(pieces):
    endings = {*lexicon.OPAQUE_ENDINGS, *(ending for group in lexicon.SUFFIXES.values() for ending in group)}
    for word in lexicon.words():
        made = pieces.encode(word.text, out_type=str)
        assert len(made) == 1 or (len(made) == 2 and made[1] in endings), f"{word.text}: {made}"
        if word.held_out:
            assert len(made) == 2, f"{word.text} has a piece of its own, which pre-training never shows"


@pytest.mark.parametrize("split", ["test", "train", "unlabeled"])
def test_rows_come_back_whole_and_fit_the_tasks_lengths(pieces, split):
    from distill_or_annotate.tasks import registry

    for task in ("mini", "mini_cls"):
        spec = registry.get(task)
        for row in spec.rows(split)[:3000]:
            source, target = pieces.encode(row["source"]), pieces.encode(row["target"])
            assert pieces.decode(target) == row["target"] and pieces.decode(source) == row["source"]
            # One more for the end of the sequence.
            assert len(source) < spec.input_tokens
            assert pieces.unk_id() not in source


def test_all_but_very_few_targets_fit(pieces):
    from distill_or_annotate.tasks import registry

    spec = registry.get("mini")
    longer = sum(len(pieces.encode(row["target"])) >= spec.target_tokens for row in splits.mini_rows("test"))
    assert longer == 0


def test_building_again_gives_the_shipped_pieces(pieces):
    import sentencepiece

    built = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.build())
    again, shipped = ([model.id_to_piece(i) for i in range(model.get_piece_size())] for model in (built, pieces))
    # The learnt characters come last, in an order that differs between versions of sentencepiece. No text has them.
    learnt = len(vocabulary._LEARNT)
    assert again[:-learnt] == shipped[:-learnt]
    assert sorted(again[-learnt:]) == sorted(shipped[-learnt:])
