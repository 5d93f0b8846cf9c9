"""`doa bench-model`: latency, throughput and dollars per million predictions of models on this machine."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

EXAMPLE = "doa bench-model --model mini_student --against mini_teacher"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `doa bench-model`."""
    parser.add_argument(
        "--model", required=True, help="a T5X or Hugging Face folder, a .safetensors file, mini_student or mini_teacher"
    )
    parser.add_argument("--against", nargs="+", default=[], metavar="MODEL", help="models to compare it with")
    parser.add_argument(
        "--vocabulary", type=Path, help="SentencePiece model for all of them; by default each one's own"
    )
    price = parser.add_argument_group("price; on a CPU that of a small machine is assumed")
    price.add_argument("--device-usd-per-hour", type=float, metavar="USD", help="dollars for an hour of this device")
    price.add_argument("--accelerator", metavar="NAME", help="its name in the price book, such as a100_40gb")
    parser.add_argument("--input-tokens", type=int, default=64, help="tokens of each input (default: %(default)s)")
    parser.add_argument(
        "--output-tokens", type=int, default=32, help="tokens of each prediction (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=50, help="timed runs at batch 1 (default: %(default)s)")
    parser.add_argument("--max-batch", type=int, default=4096, help="largest batch tried (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], help="type of the computation; by default each one's own"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table or JSON."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: its threads would disturb what is timed
    import jax

    from distill_or_annotate.interop.command import progress_bar
    from distill_or_annotate.serving import bench, bench_prices, models

    settings = bench.Settings(args.input_tokens, args.output_tokens, args.runs, args.max_batch)
    price = bench_prices.hourly_price(args.device_usd_per_hour, args.accelerator, jax.default_backend())
    names = [args.model, *args.against]
    loaded = [models.load(name, args.vocabulary, args.dtype) for name in names]
    with progress_bar() as advance:
        measured = bench.measure(list(zip(names, loaded, strict=True)), settings, advance)
    report = {
        "machine": _machine(),
        "input_tokens": settings.input_tokens,
        "output_tokens": settings.output_tokens,
        "price": price.as_json() if price else None,
        "models": [_row(model, price) for model in measured],
    }
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _print_table(report)
    return 0


def _machine() -> dict[str, Any]:
    import platform

    import jax

    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "cpu_cores": cores,
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def _dtype_name(config: Any) -> str:
    dtype = getattr(config, "dtype", "float32")  # an encoder knows no other
    return str(getattr(dtype, "__name__", dtype))


def _row(model: Any, price: Any) -> dict[str, Any]:
    best = model.best_batch
    return {
        "model": model.name,
        "path": str(model.loaded.path),
        "parameters": model.parameters,
        "parameter_bytes": model.parameter_bytes,
        "compute_dtype": _dtype_name(model.loaded.config),
        "flops_per_prediction": model.flops,
        "compile_seconds": model.compile_seconds,
        "latency_seconds": {
            "median": model.quantile(0.5),
            "p90": model.quantile(0.9),
            "p99": model.quantile(0.99),
            "runs": len(model.latencies_seconds),
        },
        "predictions_per_second_by_batch": {str(batch): rate for batch, rate in model.rates.items()},
        "sweep_stopped": model.stopped,
        "best_batch": best,
        "predictions_per_second": model.rates[best],
        "flops_per_second": model.rates[best] * model.flops,
        "usd_per_million_predictions": price.usd_per_million(model.rates[best]) if price else None,
        "usd_per_million_predictions_at_batch_1": price.usd_per_million(model.rates[1]) if price else None,
    }


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    machine, price, rows = report["machine"], report["price"], report["models"]
    table = Table(
        title=f"{report['input_tokens']} tokens in, {report['output_tokens']} out, on {machine['device']} "
        f"({machine['cpu_cores']} CPU cores, JAX {machine['jax']})"
    )
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(row["model"], justify="right", overflow="fold")
    for name, values in _lines(rows):
        table.add_row(name, *values)
    console = Console()
    console.print(table)
    if price:
        console.print(f"${price['usd_per_hour']:g} an hour, {price['name']} ({price['source']})", highlight=False)
    else:
        console.print("no price for this device: --device-usd-per-hour or --accelerator adds dollars", highlight=False)
    for other in rows[1:]:
        console.print(_comparison(rows[0], other), highlight=False)


def _lines(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    def line(name: str, text: Any) -> tuple[str, list[str]]:
        return name, [text(row) for row in rows]

    def milliseconds(key: str) -> Any:
        return lambda row: f"{1e3 * row['latency_seconds'][key]:,.2f}"

    def dollars(key: str) -> Any:
        return lambda row: "-" if row[key] is None else f"{row[key]:,.4g}"

    return [
        line("parameters", lambda row: f"{row['parameters']:,}"),
        line("parameters, MB", lambda row: f"{row['parameter_bytes'] / 1e6:,.1f}"),
        line("GFLOP a prediction", lambda row: f"{row['flops_per_prediction'] / 1e9:,.4g}"),
        line("compiling, s", lambda row: f"{row['compile_seconds']:.1f}"),
        line("latency at batch 1, ms: median", milliseconds("median")),
        line("p90", milliseconds("p90")),
        line("p99", milliseconds("p99")),
        line("best batch", lambda row: f"{row['best_batch']}"),
        line("predictions a second", lambda row: f"{row['predictions_per_second']:,.1f}"),
        line("GFLOP a second", lambda row: f"{row['flops_per_second'] / 1e9:,.1f}"),
        line("$ per million predictions", dollars("usd_per_million_predictions")),
        line("$ per million at batch 1", dollars("usd_per_million_predictions_at_batch_1")),
    ]


def _comparison(first: dict[str, Any], other: dict[str, Any]) -> str:
    rate = first["predictions_per_second"] / other["predictions_per_second"]
    latency = other["latency_seconds"]["median"] / first["latency_seconds"]["median"]
    return (
        f"{first['model']} against {other['model']}: {rate:.2f} times the predictions for a dollar at the best batch, "
        f"{latency:.2f} times as fast at batch 1"
    )
