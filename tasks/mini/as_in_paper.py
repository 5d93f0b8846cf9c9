"""The embedded task with one thing as the paper has it, each by itself (docs/deviations.md).

mini_pooled    the pool holds the labelled sources
mini_prefixed  the task's name stands before each source
"""

import dataclasses

from distill_or_annotate.tasks import registry

_MINI = registry.get("mini")
registry.register(dataclasses.replace(_MINI, name="mini_pooled", pool_includes_labelled=True, base=None))
registry.register(dataclasses.replace(_MINI, name="mini_prefixed", prefix="mini: ", base=None))
