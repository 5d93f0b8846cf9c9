"""Dated, sourced price books: what a label, a GPU-hour, a fine-tuning run and a distilled example cost."""

from distill_or_annotate.prices.books import (
    PriceBook,
    PriceBookError,
    PriceEntry,
    default_path,
    load_book,
    load_books,
)

__all__ = ["PriceBook", "PriceBookError", "PriceEntry", "default_path", "load_book", "load_books"]
