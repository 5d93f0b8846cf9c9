"""transformers' BERT and DistilBERT against ours on the same files: hidden states, pooler and label logits.

Needs torch and transformers (`make test-parity`).
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.encoder import classifier, config, folders, network

pytestmark = [pytest.mark.parity, pytest.mark.timeout(900)]
_TOLERANCE = 1e-4


def import_torch():
    try:
        import torch
        import transformers
    except ImportError as error:
        pytest.fail(f"Parity tests need torch and transformers ({error}): `make test-parity`.", pytrace=False)
    return torch, transformers


def tiny_config(kind, **changes):
    _, transformers = import_torch()
    if kind == "bert":
        sizes = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 3}
        return transformers.BertConfig(vocab_size=101, max_position_embeddings=40, **sizes, **changes)
    sizes = {"dim": 48, "n_heads": 4, "hidden_dim": 96, "n_layers": 3}
    return transformers.DistilBertConfig(vocab_size=101, max_position_embeddings=40, **sizes, **changes)


def randomised(model):
    """Biases and scales start as 0 and 1, under which their places could be mixed up unseen."""
    torch, _ = import_torch()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval()


def ragged_tokens(n_pieces, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, n_pieces, (5, 17)).astype(np.int32)
    for row, length in zip(tokens, (17, 9, 1, 16, 4), strict=True):
        row[length:] = 0
    return tokens


def theirs(model, tokens, **options):
    torch, _ = import_torch()
    ids = torch.tensor(tokens, dtype=torch.long)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=(ids > 0).long(), **options)


def real_difference(ours, their, tokens):
    return float(np.abs(np.asarray(ours) - their.numpy())[tokens > 0].max())


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_each_hidden_layer_and_the_pooler_of_a_random_bert_agree(tmp_path, activation):
    torch, transformers = import_torch()
    torch.manual_seed(1)
    model = randomised(transformers.BertModel(tiny_config("bert", hidden_act=activation)))
    model.save_pretrained(tmp_path)
    tokens = ragged_tokens(101)
    found = theirs(model, tokens, output_hidden_states=True)

    sizes = config.read(tmp_path)
    params, absent = folders.read_params(tmp_path, sizes)
    assert absent == []
    encoder = network.Encoder(sizes)
    ours = jax.jit(lambda p: encoder.apply({"params": p}, jnp.asarray(tokens)))(params["encoder"])
    assert len(ours) == len(found.hidden_states) == 4
    for mine, their in zip(ours, found.hidden_states, strict=True):
        assert real_difference(mine, their, tokens) < _TOLERANCE
    pooled = np.tanh(np.asarray(ours[-1])[:, 0] @ params["pooler"]["kernel"] + params["pooler"]["bias"])
    assert np.abs(pooled - found.pooler_output.numpy()).max() < _TOLERANCE


def test_each_hidden_layer_of_a_random_distilbert_agrees(tmp_path):
    torch, transformers = import_torch()
    torch.manual_seed(2)
    model = randomised(transformers.DistilBertModel(tiny_config("distilbert")))
    model.save_pretrained(tmp_path)
    tokens = ragged_tokens(101)
    found = theirs(model, tokens, output_hidden_states=True)
    sizes = config.read(tmp_path)
    params, _ = folders.read_params(tmp_path, sizes)
    ours = network.Encoder(sizes).apply({"params": params["encoder"]}, jnp.asarray(tokens))
    for mine, their in zip(ours, found.hidden_states, strict=True):
        assert real_difference(mine, their, tokens) < _TOLERANCE


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("n_labels", [2, 5])
def test_a_sequence_classifier_agrees_head_and_all(tmp_path, kind, n_labels):
    torch, transformers = import_torch()
    torch.manual_seed(3)
    name = {"bert": "BertForSequenceClassification", "distilbert": "DistilBertForSequenceClassification"}[kind]
    model = randomised(getattr(transformers, name)(tiny_config(kind, num_labels=n_labels)))
    model.save_pretrained(tmp_path)
    tokens = ragged_tokens(101)
    sizes = config.read(tmp_path)
    params, absent = folders.read_params(tmp_path, sizes, n_labels)
    assert absent == []
    module = network.Classifier(classifier.classifier_config(sizes, n_labels, vocab_size=11))
    ours = np.asarray(module.apply({"params": params}, jnp.asarray(tokens)))
    their = theirs(model, tokens).logits.numpy()
    assert ours.shape == their.shape == (5, n_labels)
    assert np.abs(ours - their).max() < _TOLERANCE
    assert np.abs(their).max() > 100 * _TOLERANCE  # or the tolerance would say nothing


def test_the_packaged_minilm_agrees_on_sentences_through_both_tokenizers():
    _, transformers = import_torch()
    folder = Path(folders.minilm())
    from distill_or_annotate.encoder.wordpiece import WordPiece

    texts = ["Rain has stopped play.", "No more play today, it rains (again)!", "", "Žluťoučký kůň — 馬"]
    ids = WordPiece(folder).batch(texts, 64)
    expected = transformers.AutoTokenizer.from_pretrained(folder)(texts)["input_ids"]
    assert [row.tolist() for row in ids] == expected
    tokens = np.zeros((len(ids), max(map(len, ids))), np.int32)
    for row, one in zip(tokens, ids, strict=True):
        row[: len(one)] = one
    found = theirs(transformers.BertModel.from_pretrained(folder).eval(), tokens, output_hidden_states=True)
    sizes = config.read(folder)
    params, _ = folders.read_params(folder, sizes)
    encoder = network.Encoder(sizes)
    ours = jax.jit(lambda p: encoder.apply({"params": p}, jnp.asarray(tokens)))(params["encoder"])
    for mine, their in zip(ours, found.hidden_states, strict=True):
        assert real_difference(mine, their, tokens) < _TOLERANCE


def test_bert_score_is_that_of_transformers_hidden_states(tmp_path):
    """The definition, computed in torch on transformers' own states and tokenizer, as the bert-score library does."""
    torch, transformers = import_torch()
    from distill_or_annotate.encoder import bert_score

    folder = Path(folders.minilm())
    references = [
        ["Rain has stopped play.", "No more play today, it rains."],
        ["Stocks fell sharply on Monday."],
        ["The committee will meet again next week."],
        ["Onions cure a cold, says @USER"],
    ]
    predictions = ["Play was stopped by rain!", "Shares dropped on Monday", "", "onions do not cure a cold HTTPURL"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()
    flat = [text for answers in references for text in answers]
    held = [set(tokenizer(text)["input_ids"]) for text in flat]

    def states(text):
        ids = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**ids, output_hidden_states=True).hidden_states[5][0]
        weights = [
            np.log((len(flat) + 1) / (sum(token in one for one in held) + 1)) for token in ids["input_ids"][0].tolist()
        ]
        return torch.nn.functional.normalize(hidden, dim=-1), torch.tensor(weights)

    def f1(prediction, reference):
        (ours, our_weights), (other, other_weights) = states(prediction), states(reference)
        if len(ours) <= 2:
            return 0.0
        cosines = ours @ other.T
        precision = (cosines.max(1).values * our_weights).sum() / our_weights.sum()
        recall = (cosines.max(0).values * other_weights).sum() / other_weights.sum()
        return float(2 * precision * recall / (precision + recall))

    expected = [
        max(f1(text, answer) for answer in answers) for text, answers in zip(predictions, references, strict=True)
    ]
    found = bert_score.load().f1(predictions, references)
    assert np.abs(found - expected).max() < _TOLERANCE
    assert expected[2] == 0 and min(expected[0], expected[1]) > 0.3
