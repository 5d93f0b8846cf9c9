"""Natural Questions, closed book: a question of a search engine's users, answered from the model's own knowledge.

A raw row of the released `nq_dev_all.json` (JSON lines; the files say `nq` for this task):
  {"source": "who wrote the opera fidelio?", "target": "Beethoven"}
A row built from a form with several answers (NQ-open, KILT) has them all, the first being what is trained on:
  {"source": "who wrote the opera fidelio?", "target": "Beethoven", "targets": ["Beethoven", "Ludwig van Beethoven"]}
Input:  `who wrote the opera fidelio?` (in `natural_questions_paper` with `natural_questions: ` before it)
Target: `Beethoven`
Score:  token F1 as in SQuAD v1.1. `van Beethoven` has one of two tokens right and the one of the target: precision
        1/2, recall 1, F1 66.7 in paper mode; in fair mode the best over all answers counts: of `Ludwig van Beethoven`
        two tokens of three are there, precision 1, recall 2/3, F1 80.0.

Sizes (Kang et al. 2023, Table 5): 87,372 train, 2,837 dev, no test, 115,000 unlabeled (queries of MS MARCO); lengths
32/32 (Table 8). Dev is scored; fair mode therefore holds 5% of the training questions out as `validation`
(`tasks/published.py`), and trains on the rest.
Data: Kwiatkowski et al. 2019, "Natural Questions: a Benchmark for Question Answering Research", open form of Lee et al.
2019, as in KILT (Petroni et al. 2021); licence CC BY-SA 3.0. MS MARCO: Bajaj et al. 2016, for non-commercial research.

Change log: 1 first version.
"""

from distill_or_annotate.tasks import published

published.register("natural_questions", version=1, dev_is_test=True, several_answers=True)
