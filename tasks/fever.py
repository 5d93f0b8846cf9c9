"""FEVER: is a claim supported or refuted, from the model's own knowledge (no evidence is given), as text to text.

A raw row of the released `fever_dev_all.json` (JSON lines; the KILT export without evidence):
  {"source": "Oil floats on water.", "target": "SUPPORTS"}
Input:  `Oil floats on water.` (in `fever_paper` `fever: Oil floats on water.`)
Target: `SUPPORTS` or `REFUTES`.
Score:  accuracy. Of two claims, one answered `supports` rightly (case does not count) and one answered `maybe`: 50.0.
        In paper mode `maybe` counts as the first label, `REFUTES`, so that a model that says nothing scores the share
        of that class.

Sizes (Kang et al. 2023, Table 5): 104,966 train, 10,444 dev, no test, 182,000 unlabeled (claims of VitaminC); lengths
128/8 (Table 8). Dev is scored; fair mode therefore holds 5% of the training claims out as `validation`
(`tasks/published.py`), and trains on the rest.
Data: Thorne et al. 2018, "FEVER: a Large-scale Dataset for Fact Extraction and VERification", as in KILT (Petroni et
al. 2021); licence CC BY-SA 3.0, as Wikipedia. VitaminC: Schuster et al. 2021, same licence.

Change log: 1 first version.
"""

from distill_or_annotate.tasks import published

published.register("fever", version=1, dev_is_test=True)
