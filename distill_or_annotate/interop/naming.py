"""A T5's sizes, and what each of its tensors is called in a T5X tree and in a Hugging Face file.

T5X kernels are [in, out] where Hugging Face's weights are [out, in]; the embedding is [vocab, width] in both; the
relative position biases are [heads, buckets] in T5X and [buckets, heads] in Hugging Face's files.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE = 32, 128
NORM_EPSILON = 1e-6
"""T5X has no other values for these three."""

EMBEDDING, SHARED = "token_embedder/embedding", "shared.weight"
HEAD, LM_HEAD = "decoder/logits_dense/kernel", "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What has to be known of a T5 to build it.

    Attributes:
      vocab_size: rows of the embedding.
      emb_dim: width of the model.
      num_heads: attention heads.
      head_dim: width of a head.
      mlp_dim: hidden width of the feed-forward blocks.
      num_encoder_layers: depth of the encoder.
      num_decoder_layers: depth of the decoder.
      gated: True for T5 1.1's gated GELU, False for T5 1.0's ReLU.
      tied: the logits reuse the embedding, scaled.
    """

    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    num_encoder_layers: int
    num_decoder_layers: int
    gated: bool
    tied: bool

    def t5x_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor of the T5X tree, by its slash-joined name."""
        width, joined, hidden = self.emb_dim, self.num_heads * self.head_dim, self.mlp_dim
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (self.vocab_size, width)}
        if not self.tied:
            shapes[HEAD] = (width, self.vocab_size)
        for stack, depth in (("encoder", self.num_encoder_layers), ("decoder", self.num_decoder_layers)):
            shapes[f"{stack}/relpos_bias/rel_embedding"] = (self.num_heads, RELATIVE_BUCKETS)
            shapes[f"{stack}/{stack}_norm/scale"] = (width,)
            for i in range(depth):
                for block, norm in _BLOCKS[stack].items():
                    shapes[f"{stack}/layers_{i}/{norm}/scale"] = (width,)
                    if block == "mlp":
                        for part in ("wi_0", "wi_1") if self.gated else ("wi",):
                            shapes[f"{stack}/layers_{i}/mlp/{part}/kernel"] = (width, hidden)
                        shapes[f"{stack}/layers_{i}/mlp/wo/kernel"] = (hidden, width)
                    else:
                        for part in ("query", "key", "value"):
                            shapes[f"{stack}/layers_{i}/{block}/{part}/kernel"] = (width, joined)
                        shapes[f"{stack}/layers_{i}/{block}/out/kernel"] = (joined, width)
        return shapes


# The sub-layers of each stack, in order, with the norm before each.
_BLOCKS = {
    "encoder": {"attention": "pre_attention_layer_norm", "mlp": "pre_mlp_layer_norm"},
    "decoder": {
        "self_attention": "pre_self_attention_layer_norm",
        "encoder_decoder_attention": "pre_cross_attention_layer_norm",
        "mlp": "pre_mlp_layer_norm",
    },
}
_THEIR_BLOCKS = {
    "attention": "SelfAttention",
    "self_attention": "SelfAttention",
    "encoder_decoder_attention": "EncDecAttention",
    "mlp": "DenseReluDense",
}
_THEIR_PARTS = {"query": "q", "key": "k", "value": "v", "out": "o"}


def hugging_face_name(name: str) -> str:
    """Hugging Face's name of the tensor that T5X calls `name` (slash-joined, below `target`).

    Raises:
      ValueError: when a T5 has no tensor of that name.
    """
    if name in (EMBEDDING, HEAD):
        return SHARED if name == EMBEDDING else LM_HEAD
    stack, _, rest = name.partition("/")
    if rest == "relpos_bias/rel_embedding":
        return f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    if rest == f"{stack}_norm/scale":
        return f"{stack}.final_layer_norm.weight"
    match = re.fullmatch(r"layers_(\d+)/(\w+)/(?:scale|(\w+)/kernel)", rest)
    blocks = _BLOCKS.get(stack, {})
    if match:
        layer, block, part = match.groups()
        for number, (ours, norm) in enumerate(blocks.items()):
            prefix = f"{stack}.block.{layer}.layer.{number}"
            if block == norm and part is None:
                return f"{prefix}.layer_norm.weight"
            if block == ours and part is not None:
                return f"{prefix}.{_THEIR_BLOCKS[ours]}.{_THEIR_PARTS.get(part, part)}.weight"
    raise ValueError(
        f"{name!r} is no tensor of a T5. Fix: give a checkpoint of t5x.examples.t5 (scanned layers, mixtures of "
        "experts and decoder-only models have no such Hugging Face form)."
    )


def is_transposed(name: str) -> bool:
    """Whether the tensor that T5X calls `name` has its axes the other way round in a Hugging Face file."""
    return name.endswith(("/kernel", "/rel_embedding"))


def sizes_of(shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
    """Reads a model's sizes off the shapes of its T5X tree.

    Args:
      shapes: shape of each tensor by slash-joined name.

    Returns:
      The sizes.

    Raises:
      ValueError: naming the first tensors that are missing, unknown or of a shape that does not fit the others.
    """
    needed = [EMBEDDING, "encoder/relpos_bias/rel_embedding", "encoder/layers_0/attention/query/kernel"]
    needed += ["encoder/layers_0/mlp/wo/kernel", "decoder/relpos_bias/rel_embedding"]
    absent = [name for name in needed if name not in shapes]
    if absent:
        raise ValueError(
            f"the checkpoint lacks {', '.join(absent)}; it holds {', '.join(sorted(shapes)[:4])}... Fix: give a "
            "checkpoint of t5x.examples.t5."
        )

    def depth(stack: str) -> int:
        found = [re.match(rf"{stack}/layers_(\d+)/", name) for name in shapes]
        return 1 + max((int(match[1]) for match in found if match), default=-1)

    vocab_size, emb_dim = shapes[EMBEDDING]
    num_heads = shapes["encoder/relpos_bias/rel_embedding"][0]
    sizes = Sizes(
        vocab_size=vocab_size,
        emb_dim=emb_dim,
        num_heads=num_heads,
        head_dim=shapes["encoder/layers_0/attention/query/kernel"][1] // num_heads,
        mlp_dim=shapes["encoder/layers_0/mlp/wo/kernel"][0],
        num_encoder_layers=depth("encoder"),
        num_decoder_layers=depth("decoder"),
        gated="encoder/layers_0/mlp/wi_0/kernel" in shapes,
        tied=HEAD not in shapes,
    )
    check_shapes(sizes, shapes, "the checkpoint")
    return sizes


def check_shapes(sizes: Sizes, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuses a tree that is not exactly that of a T5 of some sizes.

    Args:
      sizes: the model's sizes.
      shapes: shape of each tensor by slash-joined T5X name.
      where: what is checked, for the message.

    Raises:
      ValueError: naming tensors that are missing, unknown or of another shape, with both shapes.
    """
    expected = sizes.t5x_shapes()
    problems = [f"{name} is missing" for name in expected if name not in shapes]
    problems += [f"{name} is unknown" for name in shapes if name not in expected]
    problems += [
        f"{name} has shape {tuple(shapes[name])}, expected {shape}"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{where} is no T5 of {sizes}: {'; '.join(problems[:3])}{more}.")
