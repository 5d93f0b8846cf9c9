"""What provenance.json says of a build: counts, hashes, licences and citations."""

import hashlib
import json
import pathlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import distill_or_annotate
from distill_or_annotate.preprocess.rows import Row, RowError
from distill_or_annotate.preprocess.text import source_key

_N_QUOTED = 10


def licences(datasets: Iterable[str]) -> dict[str, Any]:
    """Looks licences and citations up.

    Args:
      datasets: keys of provenance.toml; repeats count once.
    Returns:
      `datasets`, and `licence` and `citation` of all of them as text.
    """
    catalogue = tomllib.loads(pathlib.Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    entries = [{"key": name, **catalogue[name]} for name in dict.fromkeys(datasets)]
    return {
        "datasets": entries,
        "licence": "; ".join(f"{entry['name']}: {entry['licence']}" for entry in entries),
        "citation": "\n".join(entry["citation"] for entry in entries if entry["citation"]),
    }


def account(
    rows: Mapping[str, Sequence[Row]],
    left_out: Mapping[str, Mapping[str, int]],
    noted: Mapping[str, Mapping[str, int]],
    skipped: Sequence[RowError],
) -> dict[str, Any]:
    """Counts rows by split, and those in none.

    Args:
      rows: split -> its rows.
      left_out: split -> reason -> rows.
      noted: split -> observation -> times.
      skipped: malformed rows.
    Returns:
      `version`, `splits`, `left_out`, `noted` and `skipped` of provenance.json.
    """
    return {
        "version": distill_or_annotate.__version__,
        "splits": {split: _counts(part, rows) | {"sha256": _rows_hash(part)} for split, part in rows.items()},
        "left_out": {split: dict(reasons) for split, reasons in left_out.items() if reasons},
        "noted": {split: dict(observations) for split, observations in noted.items() if observations},
        "skipped": {"rows": len(skipped), "first": [str(error) for error in skipped[:_N_QUOTED]]},
    }


def _counts(part: Sequence[Row], rows: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    keys = {source_key(row["source"]) for row in part}
    evaluation = {
        source_key(row["source"])
        for split in ("validation", "test")
        if rows.get(split) is not part
        for row in rows.get(split, ())
    }
    return {
        "rows": len(part),
        "distinct_sources": len({row["source"] for row in part}),
        "empty_targets": sum(not row["target"] for row in part),
        "several_answers": sum("targets" in row for row in part),
        "sources_also_in_evaluation": len(keys & evaluation),
    }


def _rows_hash(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
