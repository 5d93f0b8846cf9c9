"""What a budget buys under each strategy, in labels, GPU-hours and unlabeled examples."""

from distill_or_annotate.costs.arithmetic import gpu_hours_for, labels_bought, unlabeled_affordable
from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.cell import CostCell, cost_cell
from distill_or_annotate.costs.teacher import Cost, distill_cost_per_1k, finetune_cost

__all__ = [
    "Assumptions",
    "Cost",
    "CostCell",
    "cost_cell",
    "distill_cost_per_1k",
    "finetune_cost",
    "gpu_hours_for",
    "labels_bought",
    "unlabeled_affordable",
]
