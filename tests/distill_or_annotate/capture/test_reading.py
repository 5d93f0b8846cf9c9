"""From a real pass of a small teacher, through SeqIO, to batches and a student's loss."""

import jax
import numpy as np
import pytest
import seqio
import small_teacher

from distill_or_annotate.capture import collecting, identity, labels, reading, teacher_pass, writer
from distill_or_annotate.capture.header import Header, StoreError
from distill_or_annotate.capture.records import Example
from distill_or_annotate.model.distillation import DistillationObjective, DistillationOptions
from distill_or_annotate.trainer import distill_captured
from t5x import partitioning

_T, _L, _N = 8, 8, 22


class _Words(seqio.PassThroughVocabulary):
    """As many ids as the small teacher has."""

    def __init__(self):
        super().__init__(size=small_teacher.VOCAB, eos_id=1)


_VOCABULARY = _Words()


@pytest.fixture(scope="module")
def teacher():
    model, params = small_teacher.make(vocabulary=_VOCABULARY, layers=1)
    return model, small_teacher.favour_end(params, 3.0)


def _pool():
    tokens = small_teacher.inputs(_N, _L, seed=3)
    pool = [Example(f"pool {i}", row[row > 0]) for i, row in enumerate(tokens)]
    given = [Example("gold 0", np.array([5, 6, 1]), np.array([7, 8, 9, 1], np.int32))]
    return pool + given


def _store(folder, teacher, kind, padding="masked", trie=None, dtype=None):
    model, params = teacher
    head, tied, scale = identity.head(params, model.module.config)
    store = Header(
        kind=kind, task="pool", split="train", given_task="gold", temperature=2.0, k=8 if kind == "topk" else 0,
        dtype=collecting.stored_dtype(kind, dtype), padding=padding, targets_rule="labels" if trie else "greedy",
        labels=trie.words if trie else (), input_tokens=_L, target_tokens=_T, counts_start=padding == "counted",
        batch_size=4, shard_examples=8, vocab_size=small_teacher.VOCAB, vocabulary=identity.vocabulary(_VOCABULARY),
        teacher=identity.teacher(params, model.module.config, "/models/checkpoint_7"), tied=tied, logit_scale=scale,
    )  # fmt: skip
    partitioner = partitioning.PjitPartitioner(model_parallel_submesh=(1, 2, 1, 1))
    axes = jax.tree.map(lambda _: jax.sharding.PartitionSpec(), params)
    run = teacher_pass.TeacherPass(model, params, axes, partitioner, store, str, trie)
    with writer.StoreWriter(folder, store) as out:
        if kind == "hidden":
            out.write_head(head)
        assert writer.write_all(out, _pool(), run) == _N + 1
    return folder


@pytest.fixture(scope="module")
def stores(teacher, tmp_path_factory):
    made = {}

    def get(kind, padding="masked"):
        if (kind, padding) not in made:
            made[kind, padding] = _store(tmp_path_factory.mktemp(kind), teacher, kind, padding)
        return made[kind, padding]

    return get


def _dataset(store, batch_size=None, **options):
    name = reading.captured("small", store, _VOCABULARY, **options)
    ds = seqio.get_dataset(
        name,
        {"inputs": _L, "targets": _T},
        dataset_split="train",
        shuffle=False,
        feature_converter=reading.feature_converter()(pack=False),
    )
    return list(ds.batch(batch_size).as_numpy_iterator()) if batch_size else list(ds.as_numpy_iterator())


def _student():
    model, params = small_teacher.make(seed=5, vocabulary=_VOCABULARY, layers=1)
    return model, params


def _loss(objective, params, batch):
    return float(jax.jit(lambda p, b: objective.loss_fn(p, b, None)[0])(params, batch))


def _losses(teacher, store, options):
    """The student's loss on one batch, from the store and with the live teacher."""
    found = reading.finished(store)
    head = {"head": distill_captured.read_head(store)} if found.kind == "hidden" else {}
    (batch,) = _dataset(store, _N + 1)
    student, params = _student()

    def of_store(seen):
        return distill_captured.teacher_of(found, head, seen)

    frozen_model, frozen_params = teacher
    module = frozen_model.module

    def of_teacher(seen):
        tokens = [seen[f"{name}_tokens"] for name in ("encoder_input", "decoder_input", "decoder_target")]
        return module.apply({"params": frozen_params}, *tokens, enable_dropout=False)

    stored = DistillationObjective(student, of_store, options)
    live = DistillationObjective(student, of_teacher, options)
    return _loss(stored, params, batch), _loss(live, params, batch)


def test_a_batch_has_the_teacher_beside_the_usual_features(stores):
    examples = _dataset(stores("topk"))
    assert len(examples) == _N + 1
    first = examples[0]
    assert first["teacher_topk_ids"].shape == first["teacher_topk_logprobs"].shape == (_T, 8)
    assert first["teacher_tail_logmass"].shape == (_T,) and first["teacher_topk_ids"].dtype == np.int32
    n = (first["decoder_target_tokens"] > 0).sum()
    mass = np.exp(first["teacher_topk_logprobs"].astype(np.float64)).sum(-1) + np.exp(first["teacher_tail_logmass"])
    np.testing.assert_allclose(mass[:n], 1.0, atol=2e-3)
    np.testing.assert_array_equal(first["teacher_topk_ids"][n:], 0)


def test_targets_are_the_teachers_and_given_ones_stay(teacher, stores):
    examples = _dataset(stores("topk"))
    model, params = teacher
    inputs = np.stack([example["encoder_input_tokens"] for example in examples])
    greedy = np.asarray(model.predict_batch(params, small_teacher.batch_of(inputs, _T)))
    order = {tuple(row): target for row, target in zip(inputs, greedy, strict=True)}
    for example in examples:
        key = tuple(example["encoder_input_tokens"])
        given = key[:3] == (5, 6, 1) and key[3] == 0
        expected = [7, 8, 9, 1, 0, 0, 0, 0] if given else order[key]
        np.testing.assert_array_equal(example["decoder_target_tokens"], expected)


def test_hidden_states_rebuild_the_live_teachers_loss(teacher, stores):
    stored, live = _losses(teacher, stores("hidden"), DistillationOptions(temperature=1.3))
    assert stored == pytest.approx(live, rel=3e-3)


def test_full_logits_rebuild_it_exactly(teacher, stores):
    stored, live = _losses(teacher, stores("full"), DistillationOptions())
    assert stored == pytest.approx(live, rel=1e-5)


def test_counted_positions_rebuild_the_live_loss_over_pads(teacher, stores):
    store = stores("full", "counted")
    lengths = [int(example["decoder_counted_positions"][0]) for example in _dataset(store)]
    assert max(lengths) <= _T and len(set(lengths)) > 1
    stored, live = _losses(teacher, store, DistillationOptions(padding="counted"))
    assert stored == pytest.approx(live, rel=1e-5)
    masked, _ = _losses(teacher, store, DistillationOptions())
    assert abs(masked - stored) > 1e-3 * stored, "the pads should weigh something"


def test_the_best_tokens_bound_the_loss_from_below(teacher, stores):
    stored, live = _losses(teacher, stores("topk"), DistillationOptions())
    assert 0.3 * live < stored <= live * 1.001


def test_a_smaller_pool_is_the_first_examples_and_the_given_ones(stores):
    texts = [len(_dataset(stores("topk"), n_unlabeled=n)) for n in (1, 10, _N)]
    assert texts == [2, 11, _N + 1]


def test_unsure_targets_are_left_out_on_request(stores):
    scores = sorted(record.log_probability for record in _records(stores("topk")) if not record.given)
    middle = (scores[10] + scores[11]) / 2
    assert len(_dataset(stores("topk"), min_log_probability=middle)) == _N - 11 + 1


def _records(store):
    from distill_or_annotate.capture import frames, records

    types = records.feature_types(reading.finished(store))
    for index in writer.indices(store):
        for frame in frames.read_frames(store / index.file):
            yield records.parse(frame[12:-4], types)


def test_the_best_label_word_is_the_target(teacher, tmp_path):
    trie = labels.LabelTrie.from_words(["ba", "cd"], lambda word: [ord(letter) - 60 for letter in word])
    store = _store(tmp_path, teacher, "full", trie=trie)
    found = {tuple(record.targets) for record in _records(store) if not record.given}
    assert found <= {(38, 37, 1), (39, 40, 1)}


def test_the_iterator_s_state_can_be_saved(stores, tmp_path):
    import tensorflow as tf

    name = reading.captured("small", stores("topk"), _VOCABULARY)
    options = {"dataset_split": "train", "shuffle": True, "seed": 0, "num_epochs": 2}
    converter = reading.feature_converter()(pack=False)
    ds = seqio.get_dataset(name, {"inputs": _L, "targets": _T}, feature_converter=converter, **options)
    iterator = iter(ds)
    next(iterator)
    path = tf.train.Checkpoint(ds=iterator).write(str(tmp_path / "at"))
    expected = next(iterator)["decoder_target_tokens"].numpy()
    again = iter(ds)
    tf.train.Checkpoint(ds=again).read(path).assert_consumed()
    np.testing.assert_array_equal(next(again)["decoder_target_tokens"].numpy(), expected)


def test_what_does_not_fit_the_store_is_refused(stores, tmp_path):
    store = reading.finished(stores("topk"))
    with pytest.raises(StoreError, match="capture a store of kind 'hidden'"):
        distill_captured.check(store, DistillationOptions(temperature=1.0), small_teacher.VOCAB)
    with pytest.raises(StoreError, match="it has no pads to count"):
        distill_captured.check(store, DistillationOptions(padding="counted"), small_teacher.VOCAB)
    with pytest.raises(StoreError, match="vocab_size is 96 for the captured teacher and 97 for the student"):
        distill_captured.check(store, DistillationOptions(), 97)
    with pytest.raises(StoreError, match=r"feature_converter_cls = @reading.feature_converter\(\)"):
        distill_captured.teacher_of(store, {}, {})
    with pytest.raises(StoreError, match=r"n_unlabeled is 23, but .* holds 22 examples of the pool"):
        reading.captured("small", stores("topk"), _VOCABULARY, n_unlabeled=23)
    with pytest.raises(StoreError, match=r"gold is 'small_n10_s0', but .* was captured with GIVEN_TASK = 'gold'"):
        reading.captured("small", stores("topk"), _VOCABULARY, gold="small_n10_s0")
    assert reading.captured("small", stores("topk"), _VOCABULARY, gold="gold").startswith("small_pseudo_u22_")
    with pytest.raises(StoreError, match="was captured with a vocabulary of 96 pieces"):
        reading.captured("small", stores("topk"), seqio.PassThroughVocabulary(size=97))
    with pytest.raises(StoreError, match=r"has no header.json"):
        reading.captured("small", tmp_path, _VOCABULARY)
