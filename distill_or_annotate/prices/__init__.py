"""Dated, sourced price books: what a label, a GPU-hour, a fine-tuning run and a distilled example cost."""

from distill_or_annotate.prices.book import PriceBook, age_warning
from distill_or_annotate.prices.books import default_path, load_book, load_books
from distill_or_annotate.prices.entry import Factor, PriceBookError, PriceEntry

__all__ = [
    "Factor",
    "PriceBook",
    "PriceBookError",
    "PriceEntry",
    "age_warning",
    "default_path",
    "load_book",
    "load_books",
]
