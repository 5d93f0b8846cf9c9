"""transformers loads what we export and we compute what it saved: logits, and a distilled student's predictions.

Needs torch and transformers (`make test-parity`). The student is that of `DOA_PARITY_RUN` (a run folder) when set, else
one that the smallest study distills here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.interop import conversion, logits, parameters, peak_memory
from distill_or_annotate.tasks.mini import splits, vocabulary
from t5x import decoding, models
from t5x.examples.t5 import network

pytestmark = [pytest.mark.parity, pytest.mark.timeout(1800)]
_ROOT = Path(__file__).parents[3]
_LENGTH = 20
_ROWS = 100


def import_torch():
    try:
        import torch
        import transformers
    except ImportError as error:
        pytest.fail(f"Parity tests need torch and transformers ({error}): `make test-parity`.", pytrace=False)
    return torch, transformers


def our_model(sizes):
    config = network.T5Config(
        vocab_size=sizes.vocab_size,
        emb_dim=sizes.emb_dim,
        num_heads=sizes.num_heads,
        num_encoder_layers=sizes.num_encoder_layers,
        num_decoder_layers=sizes.num_decoder_layers,
        head_dim=sizes.head_dim,
        mlp_dim=sizes.mlp_dim,
        mlp_activations=("gelu", "linear") if sizes.gated else ("relu",),
        dropout_rate=0.0,
        logits_via_embedding=sizes.tied,
    )
    eos = SimpleNamespace(eos_id=1)
    return models.EncoderDecoderModel(
        network.Transformer(config), eos, eos, None, decode_fn=decoding.temperature_sample
    )


def our_logits(folder, sizes, inputs, targets):
    params = jax.tree.map(jnp.asarray, parameters.read_checkpoint(folder)[0])
    shifted = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
    arguments = [jnp.asarray(tokens, jnp.int32) for tokens in (inputs, shifted, targets)]
    module = our_model(sizes).module
    run = jax.jit(lambda params: module.apply({"params": params}, *arguments, enable_dropout=False))
    return np.asarray(run(params))


def their_logits(model, inputs, targets):
    torch, _ = import_torch()
    with torch.no_grad():
        return model(
            input_ids=torch.tensor(inputs),
            attention_mask=torch.tensor(inputs > 0).long(),
            decoder_input_ids=torch.tensor(np.pad(targets[:, :-1], ((0, 0), (1, 0)))),
        ).logits.numpy()


def load(folder):
    """Loads a folder, and fails unless every weight came from it."""
    _, transformers = import_torch()
    model, info = transformers.T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert {key: list(found) for key, found in info.items() if found} == {}
    return model.eval()


def test_an_exported_model_is_loaded_whole_and_has_our_logits(tmp_path, any_sizes):
    peak_memory.write_synthetic(tmp_path / "hf", any_sizes)
    conversion.convert(tmp_path / "hf", tmp_path / "t5x")
    conversion.convert(tmp_path / "t5x", tmp_path / "back", shard_bytes=20_000)
    inputs, targets = logits.fixed_batch(any_sizes.vocab_size)
    real = targets > 0
    theirs = their_logits(load(tmp_path / "back"), inputs, targets)
    ours = our_logits(tmp_path / "t5x", any_sizes, inputs, targets)
    opened = conversion.open_model(tmp_path / "back")
    checked = logits.compute(opened.weights, any_sizes, inputs, targets)
    np.testing.assert_allclose(ours[real], theirs[real], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(checked[real], theirs[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_what_transformers_saves_is_converted(tmp_path, any_sizes, times):
    """As it is, saved again, and saved again after that: what its config.json says of the head changes each time."""
    peak_memory.write_synthetic(tmp_path / "saved0", any_sizes)
    for time in range(times):
        load(tmp_path / f"saved{time}").save_pretrained(tmp_path / f"saved{time + 1}")
    inputs, targets = logits.fixed_batch(any_sizes.vocab_size)
    real = targets > 0
    conversion.convert(tmp_path / f"saved{times}", tmp_path / "t5x")
    theirs = their_logits(load(tmp_path / "saved0"), inputs, targets)
    ours = our_logits(tmp_path / "t5x", any_sizes, inputs, targets)
    np.testing.assert_allclose(ours[real], theirs[real], rtol=1e-4, atol=1e-4)


def test_a_fresh_tied_model_of_transformers_is_converted(tmp_path):
    torch, transformers = import_torch()
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=60, d_model=24, d_kv=10, d_ff=40, num_layers=2, num_heads=3)
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    theirs.save_pretrained(tmp_path / "hf")
    report = conversion.convert(tmp_path / "hf", tmp_path / "t5x")
    sizes = conversion.open_model(tmp_path / "hf").sizes()
    assert sizes.tied and not sizes.gated and report["largest_logit_difference"] < 1e-3
    inputs, targets = logits.fixed_batch(60)
    ours, expected = our_logits(tmp_path / "t5x", sizes, inputs, targets), their_logits(theirs, inputs, targets)
    np.testing.assert_allclose(ours[targets > 0], expected[targets > 0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """The model folder of a distilled mini student."""
    run_dir = Path(os.environ.get("DOA_PARITY_RUN") or tmp_path_factory.mktemp("run") / "smoke")
    if not run_dir.exists():
        command = [sys.executable, "-m", "distill_or_annotate", "run", "smoke", "--run-dir", str(run_dir)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    folders = sorted(run_dir.glob("stages/distill-*/model"))
    assert folders, f"no distilled student in {run_dir}"
    return folders[-1]


def test_a_distilled_student_predicts_the_same_in_transformers(student, tmp_path):
    torch, transformers = import_torch()
    report = conversion.convert(student, tmp_path / "hf", tokenizer=vocabulary.PATH)
    assert report["largest_difference"] == 0
    rows = [row["source"] for row in splits.mini_rows("test")][:_ROWS]
    assert len(set(rows)) == _ROWS

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    encoded = tokenizer(rows, padding=True, return_tensors="pt")
    with torch.no_grad():
        made = load(tmp_path / "hf").generate(**encoded, max_new_tokens=_LENGTH, num_beams=1, do_sample=False)
    theirs = tokenizer.batch_decode(made, skip_special_tokens=True)

    spoken = vocabulary.vocabulary()
    tokens = [[*spoken.encode(row), 1] for row in rows]
    inputs = np.zeros((_ROWS, max(map(len, tokens))), np.int32)
    for row, ids in zip(inputs, tokens, strict=True):
        row[: len(ids)] = ids
    np.testing.assert_array_equal(encoded["input_ids"].numpy(), inputs)
    model = our_model(conversion.open_model(student).sizes())
    params = jax.tree.map(jnp.asarray, parameters.read_checkpoint(student)[0])
    batch = {
        "encoder_input_tokens": jnp.asarray(inputs),
        "decoder_input_tokens": jnp.zeros((_ROWS, _LENGTH), jnp.int32),
    }
    decoded = np.asarray(jax.jit(model.predict_batch)(params, batch))
    ours = [
        spoken.decode([int(i) for i in ids[: list(ids).index(1)] if i] if 1 in ids else [int(i) for i in ids])
        for ids in decoded
    ]
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(json.dumps({"student": str(student), "rows": _ROWS, "same": same, "example": [rows[0], ours[0]]}))
    assert same == _ROWS and len(set(ours)) > 1
