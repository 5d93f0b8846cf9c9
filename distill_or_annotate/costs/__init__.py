"""What a budget buys under each strategy, in labels, GPU-hours and unlabeled examples."""

from distill_or_annotate.costs.annotation import LabelPrice, label_price
from distill_or_annotate.costs.api_labels import api_label_cost, api_models
from distill_or_annotate.costs.arithmetic import CostError, gpu_hours_for, labels_bought, unlabeled_affordable
from distill_or_annotate.costs.assumptions import Assumptions
from distill_or_annotate.costs.cell import CostCell, cost_cell
from distill_or_annotate.costs.on_top import OnTop, on_top
from distill_or_annotate.costs.student import student_training_cost
from distill_or_annotate.costs.teacher import Cost, distill_cost_per_1k, finetune_cost

__all__ = [
    "Assumptions",
    "Cost",
    "CostCell",
    "CostError",
    "LabelPrice",
    "OnTop",
    "api_label_cost",
    "api_models",
    "cost_cell",
    "distill_cost_per_1k",
    "finetune_cost",
    "gpu_hours_for",
    "label_price",
    "labels_bought",
    "on_top",
    "student_training_cost",
    "unlabeled_affordable",
]
