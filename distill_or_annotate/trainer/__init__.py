"""Trainers that stand beside `t5x.trainer.Trainer`, under the same contract."""
