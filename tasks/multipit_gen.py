"""MultiPIT generation: say a tweet in other words, as text to text.

A raw row of the released `multipit_train_all.json` (JSON lines; the files say `multipit` for this task):
  {"source": "Rain has stopped play .", "target": "No more play today , it rains"}
Input:  `Rain has stopped play .` (in `multipit_gen_paper` `multipit_gen: Rain has stopped play .`)
Target: `No more play today , it rains`. In the released test file each target is its source: there the metric compares
        with the source, and no reference is needed.
Score:  BERT-iBLEU, which rewards likeness in meaning to the target (BERTScore F1 by the chosen encoder: MiniLM unless
        DOA_SIMILARITY_MODEL names another) and punishes sharing word sequences with the source: the source itself
        scores 0 in fair mode. Numbers of different encoders are not comparable; the paper's is
        microsoft/deberta-xlarge-mnli (docs/evaluating.md).

Sizes (Kang et al. 2023, Table 5): 49,673 train, 6,143 dev, 6,120 test, 179,000 unlabeled (MultiPIT-Auto); lengths 32/32
(Table 8).
Data: Dou, Jiang and Xu 2022, "Improving Large-scale Paraphrase Acquisition and Generation" (the paraphrases among the
crowd's pairs, and MultiPIT-Auto); tweets: see the MultiPIT repository for its terms, and Twitter's.

Change log: 1 first version. 2 BERT-iBLEU in place of its stand-in chrf_ibleu.
"""

from distill_or_annotate.tasks import published

published.register("multipit_gen", version=2)
