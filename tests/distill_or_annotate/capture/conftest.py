"""Lets the tests of this folder import what they share (importlib mode keeps the folder off the path)."""

import sys
from pathlib import Path

TESTS_DIR = Path(__file__).parent
if str(TESTS_DIR) not in sys.path:
    sys.path.insert(0, str(TESTS_DIR))
