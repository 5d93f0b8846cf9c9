"""BERT-like encoders in Flax, read from Hugging Face folders: BERTScore, and classifiers that T5X trains."""
