"""Stanceosaurus: what a tweet, or a reply in its thread, says to a claim, as text to text.

A raw row of the released `stanceosaurus_test_all.json` (JSON lines; users and links are masked, the context of a reply
follows `[SEP]`):
  {"source": "claim: Onions cure a cold tweet: @USER they do not , see HTTPURL [SEP] Onions in socks !",
   "target": "Refuting"}
Input:  that source (in `stanceosaurus_paper` with `stanceosaurus: ` before it)
Target: `Irrelevant`, `Supporting`, `Refuting`, `Discussing` or `Querying`.
Score:  fair: macro F1 over the five. Two rows, `Refuting` found and `Querying` answered `Refuting`: F1 of Refuting 2/3,
        of the others 0, mean 13.3. Paper: micro F1, 50.0 here; an answer outside the five counts as `Irrelevant`.

Sizes (Kang et al. 2023, Table 5): 12,130 train, 3,827 dev, 4,750 test, 126,000 unlabeled; lengths 128/8 (Table 8). At
128 tokens long threads are cut: `doa data check stanceosaurus` counts them.
Data: Zheng et al. 2022, "Stanceosaurus: Classifying Stance Towards Multicultural Misinformation"; the authors give the
text of the tweets on request, under Twitter's terms.

Change log: 1 first version.
"""

from distill_or_annotate.tasks import published

published.register("stanceosaurus", version=1)
