"""`python -m distill_or_annotate` is `doa`."""

import sys

from distill_or_annotate.cli import main

sys.exit(main())
