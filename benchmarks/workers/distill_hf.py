"""The paper's loop on torch's CPU build: greedy targets once, the teacher's forward pass in each step, KL at T = 2.

Needs the extra `parity`.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch
import transformers
from distilling import LEARNING_RATE, PAIRS, TEMPERATURE, decoded_rows, serve
from shapes import Shape
from torch.nn import functional


def prepare(pair: str, n_batches: int):
    """Returns the two parts of the work, `generate` and `live`, each over the pool, and facts for the report.

    Args:
      pair: name of teacher and student.
      n_batches: batches of the pool, at least 1.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)
    shape, student_shape = PAIRS[pair]
    teacher, student = _model(shape).eval(), _model(student_shape).train()
    pool = [torch.randint(2, shape.vocab, (shape.batch, shape.input_tokens)) for _ in range(n_batches)]
    mask = torch.ones_like(pool[0])
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE)
    targets: list[torch.Tensor] = []

    def generate():
        with torch.inference_mode():
            found = [
                teacher.generate(
                    inputs, attention_mask=torch.ones_like(inputs), do_sample=False, num_beams=1,
                    min_new_tokens=shape.target_tokens, max_new_tokens=shape.target_tokens,
                )[:, 1:]
                for inputs in torch.cat(pool).split(decoded_rows(shape, n_batches))
            ]  # fmt: skip
        targets[:] = [ids.clone() for ids in torch.cat(found).split(shape.batch)]

    def live():
        for inputs, labels in zip(pool, targets, strict=True):
            with torch.no_grad():
                wanted = teacher(input_ids=inputs, attention_mask=mask, labels=labels).logits
            optimizer.zero_grad(set_to_none=True)
            logits = student(input_ids=inputs, attention_mask=mask, labels=labels).logits
            log_q = functional.log_softmax(logits / TEMPERATURE, dim=-1)
            p = functional.softmax(wanted / TEMPERATURE, dim=-1)
            loss = TEMPERATURE**2 * functional.kl_div(log_q, p, reduction="sum") / labels.numel()
            loss.backward()
            optimizer.step()

    generate()
    live()
    return {"generate": generate, "live": live}, {}


def _model(shape: Shape) -> transformers.T5ForConditionalGeneration:
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=shape.vocab, d_model=shape.d_model, d_kv=shape.d_kv, d_ff=shape.d_ff, num_heads=shape.n_heads,
            num_layers=shape.n_layers, num_decoder_layers=shape.n_layers, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, dropout_rate=0.1, decoder_start_token_id=0, eos_token_id=None,
        )
    )  # fmt: skip


if __name__ == "__main__":
    serve(prepare, {"torch": torch.__version__, "transformers": transformers.__version__})
