"""MultiPIT identification: do two tweets say the same, as text to text.

A raw row of the released `multipit_id_test_all.json` (JSON lines):
  {"source": "sentence1: Rain has stopped play . sentence2: No more play today , it rains", "target": "YES"}
Input:  that source (in `multipit_id_paper` with `multipit_id: ` before it)
Target: `YES` or `NO`.
Score:  accuracy. Of two pairs, one answered `yes` rightly (case does not count) and one answered `perhaps`: 50.0. In
        paper mode `perhaps` counts as the first label, `NO`.

Sizes (Kang et al. 2023, Table 5): 92,217 train, 11,527 dev, 11,530 test, 237,000 unlabeled (MultiPIT-Auto); lengths
64/8 (Table 8).
Data: Dou, Jiang and Xu 2022, "Improving Large-scale Paraphrase Acquisition and Generation" (MultiPIT-crowd); tweets:
see the MultiPIT repository for its terms, and Twitter's.

Change log: 1 first version.
"""

from distill_or_annotate.tasks import published

published.register("multipit_id", version=1)
