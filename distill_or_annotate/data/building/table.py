"""What a build prints: rows by split, and what became of the rows that are in none."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_or_annotate.preprocess.built import SPLITS


def lines(provenance: Mapping[str, Any]) -> list[str]:
    """Lays a build's provenance out as text.

    Args:
      provenance: content of provenance.json.
    Returns:
      The lines to print.
    """
    splits = provenance["splits"]
    files = {split: sum(entry["split"] == split for entry in provenance["inputs"]) for split in SPLITS}
    rows = [("split", "rows", "distinct sources", "empty targets", "several answers", "files", "rows' sha256")]
    for split in (split for split in SPLITS if split in splits):
        found = splits[split]
        counts = [found[name] for name in ("rows", "distinct_sources", "empty_targets", "several_answers")]
        n_files = str(files[split]) if files[split] else "by hash"
        rows.append((split, *(f"{count:,}" for count in counts), n_files, found["sha256"][:12]))
    out = [f"{provenance['task']}: form {', '.join(provenance['forms'])}; {_rule(provenance['split'])}", ""]
    out += _columns(rows, left=1)
    reasons = [(split, why, f"{n:,}") for split, whys in provenance["left_out"].items() for why, n in whys.items()]
    if skipped := provenance["skipped"]["rows"]:
        reasons.append(("", "malformed (--on-bad-row skip)", f"{skipped:,}"))
    if reasons:
        out += ["", *_columns([("split", "left out", "rows"), *reasons], left=2)]
    noted = [(split, what, f"{n:,}") for split, whats in provenance["noted"].items() for what, n in whats.items()]
    if noted:
        out += ["", *_columns([("split", "noted", "times"), *noted], left=2)]
    for split, found in splits.items():
        if shared := found["sources_also_in_evaluation"]:
            out.append(f"\nnote: {shared:,} sources of {split} are also in validation or test; the files say so.")
    if "unlabeled" in splits and not {"validation", "test"} & set(splits):
        out.append("\nnote: no validation or test here, so the pool was not compared with their sources.")
    out += ["", f"licence: {provenance['licence']}"]
    return out


def _rule(rule: Mapping[str, Any]) -> str:
    if rule["rule"] == "files":
        return "splits as the files say"
    percent = "/".join(str(share) for share in rule["percent"])
    return f"split {percent} by a hash of the group, seed {rule['seed']}"


def _columns(rows: Sequence[Sequence[str]], left: int) -> Iterable[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
