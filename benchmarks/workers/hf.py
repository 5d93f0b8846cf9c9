"""transformers on torch's CPU build: one AdamW step, and greedy `generate`. Needs the extra `parity`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch
import transformers
from shapes import Shape, serve


def prepare(work: str, shape: Shape):
    """Returns a function that takes one training step, or decodes one batch.

    Args:
      work: `train` or `decode`.
      shape: sizes of network and batch.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=shape.vocab, d_model=shape.d_model, d_kv=shape.d_kv, d_ff=shape.d_ff, num_heads=shape.n_heads,
        num_layers=shape.n_layers, num_decoder_layers=shape.n_layers, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, dropout_rate=0.1, decoder_start_token_id=0, eos_token_id=None,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)
    inputs = torch.randint(2, shape.vocab, (shape.batch, shape.input_tokens))
    labels = torch.randint(2, shape.vocab, (shape.batch, shape.target_tokens))
    mask = torch.ones_like(inputs)
    if work == "decode":
        model.eval()

        def decode():
            with torch.inference_mode():
                model.generate(
                    inputs, attention_mask=mask, do_sample=False, num_beams=1,
                    min_new_tokens=shape.target_tokens, max_new_tokens=shape.target_tokens,
                )  # fmt: skip

        return decode
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        model(input_ids=inputs, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    serve(prepare, {"torch": torch.__version__, "transformers": transformers.__version__})
