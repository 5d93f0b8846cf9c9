"""Imports that keep the greetings of libraries off the terminal."""

import importlib
import os
import sys


def import_quietly(*modules: str) -> None:
    """Imports with the process's standard error shut: TensorFlow's C++ code greets there, whatever its log level.

    Args:
      *modules: names of modules.
    Raises:
      ImportError: one of them cannot be imported.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    shut = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(shut, 2)
        for name in modules:
            importlib.import_module(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(shut)
