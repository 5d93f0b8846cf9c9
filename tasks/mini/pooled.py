"""`mini_pooled`: the embedded task with the labelled sources in its pool, as the paper has it (docs/deviations.md)."""

import dataclasses

from distill_or_annotate.tasks import registry

registry.register(dataclasses.replace(registry.get("mini"), name="mini_pooled", pool_includes_labelled=True, base=None))
