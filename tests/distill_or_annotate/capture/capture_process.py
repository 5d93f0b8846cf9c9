"""One process of a capture: `python capture_process.py FOLDER INDEX COUNT ADDRESS`; imported, it is the only one."""

import sys
from pathlib import Path

import jax

N_EXAMPLES, BATCH, SHARD = 40, 8, 16
# Kind of store -> devices that share the teacher; the partitioner cuts 8 down to the four of one process.
KINDS = {"hidden": 8, "topk": 2}


def teacher_model():
    """A teacher that compiles in seconds, over the vocabulary of `mini`."""
    from distill_or_annotate.tasks import registry
    from t5x import adafactor, models
    from t5x.examples.t5 import network

    config = network.T5Config(
        vocab_size=1024, emb_dim=16, num_heads=8, head_dim=4, mlp_dim=16, num_encoder_layers=1, num_decoder_layers=1
    )
    vocabulary = registry.vocabulary("mini")
    return models.EncoderDecoderModel(network.Transformer(config=config), vocabulary, vocabulary, adafactor.Adafactor())


def capture(work: Path, name: str) -> None:
    """Captures both kinds of store into `work/name/KIND`, with the teacher in `work/teacher`."""
    from distill_or_annotate.capture import capturing
    from distill_or_annotate.tasks import variants
    from t5x import partitioning, utils

    for kind, partitions in KINDS.items():
        folder = capturing.capture(
            model=teacher_model(),
            dataset_cfg=utils.DatasetConfig(
                mixture_or_task_name=variants.unlabeled("mini", N_EXAMPLES),
                task_feature_lengths={"inputs": 8, "targets": 4},
                split="train",
                batch_size=BATCH,
                shuffle=False,
                seed=0,
            ),
            restore_checkpoint_cfg=utils.RestoreCheckpointConfig(path=str(work / "teacher"), mode="latest"),
            partitioner=partitioning.PjitPartitioner(num_partitions=partitions),
            output_dir=str(work / name / kind),
            kind=kind,
            k=4,
            dtype="float32",
            shard_examples=SHARD,
        )
        # What t5x.infer looks for next, in each process.
        assert list(Path(folder).glob("*.COMPLETED")), "a process went on before the predictions were there"


if __name__ == "__main__":
    work, index, count, address = sys.argv[1:]
    jax.distributed.initialize(address, int(count), int(index), initialization_timeout=120)
    capture(Path(work), "two")
