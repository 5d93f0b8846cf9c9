"""`doa annotate`: a language model labels a pool, under a cap, and goes on where it stopped."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence

from distill_or_annotate.annotators import forms, items, labelling, prompts
from distill_or_annotate.annotators.agreement import Agreement, agreement
from distill_or_annotate.annotators.endpoint import TOKEN_LIMIT_FIELDS, Endpoint
from distill_or_annotate.annotators.estimates import BYTES_PER_TOKEN, Estimate, estimate
from distill_or_annotate.annotators.token_prices import TokenPrices, token_prices
from distill_or_annotate.annotators.workers import Settings
from distill_or_annotate.ledger.cap import ceil_usd, check_max_usd, usd_text
from distill_or_annotate.preprocess.rows import Row, read_rows
from distill_or_annotate.prices import age_warning, load_book

EXAMPLE = "doa annotate --task wlp --pool pool.jsonl --shots 32 --shot-pool 100 --model gpt-6-luna --max-usd 200"

# As `doa run` ends at its cap: the same command with a higher one goes on.
CAP_STATUS = 3
# Prompts that are counted before a labelling; `--estimate` counts them all.
_MOST_COUNTED = 1000
# Options that name a file which is read.
_READ = ("pool", "gold", "shot_file", "instruction", "simulate")
# Enough for any label word; a sentence's entities with their types.
_OUTPUT_TOKENS = {forms.CLASSES: 16, forms.ENTITIES: 512, forms.TEXT: 128}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments.

    Args:
      parser: receives them.
    """
    parser.add_argument("--task", required=True, help="a task, such as wlp")
    parser.add_argument("--task-module", default=None, help="the module that registers a task of one's own")
    parser.add_argument(
        "--pool", type=pathlib.Path, help="what to label: JSON lines with `source`, or .txt with one text a line"
    )
    parser.add_argument(
        "--limit", type=int, default=None, metavar="N", help="label the first N items of the pool alone"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        help="the labels (default: POOL_labels.jsonl, simulated ones POOL_simulated.jsonl); the books lie beside it",
    )
    parser.add_argument("--gold", type=pathlib.Path, help="a labelled sample of the pool, to say how far labels agree")
    parser.add_argument(
        "--simulate",
        type=pathlib.Path,
        metavar="TOML",
        help="annotators who err as this file says, in place of a model; the pool then holds the true targets",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")

    model = parser.add_argument_group("model")
    model.add_argument("--model", help="its name at the endpoint and in the price book, such as gpt-6-luna")
    model.add_argument("--base-url", default=None, help="an OpenAI-compatible address (default: OPENAI_BASE_URL)")
    model.add_argument("--max-output-tokens", type=int, default=None, metavar="N", help="longest answer")
    model.add_argument(
        "--token-limit-field",
        choices=TOKEN_LIMIT_FIELDS,
        default=TOKEN_LIMIT_FIELDS[0],
        help="older servers: max_tokens",
    )
    model.add_argument("--temperature", type=float, default=None, help="left to the server unless given")
    model.add_argument("--logprobs", action="store_true", help="ask for log-probabilities, for confidence")

    money = parser.add_argument_group("money")
    money.add_argument("--max-usd", type=float, default=None, metavar="B", help="the cap: never spend more")
    money.add_argument("--estimate", action="store_true", help="say what it would cost, and send nothing")
    money.add_argument("--price-book", default="current", help="price book (default: current)")
    money.add_argument("--prices", default=None, help="a TOML file of price books")
    money.add_argument("--batch", action="store_true", help="through the batch API: cheaper, within a day")
    money.add_argument("--batch-size", type=int, default=5000, metavar="N", help="most requests in a batch")
    money.add_argument("--poll-seconds", type=float, default=30.0, help="between questions for a batch (default: 30)")
    money.add_argument(
        "--invoice-usd", type=float, default=None, metavar="USD", help="settle what is unconfirmed by the invoice"
    )

    prompt = parser.add_argument_group("prompt")
    prompt.add_argument("--shots", type=int, default=32, metavar="N", help="examples in a prompt (default: 32)")
    prompt.add_argument("--shot-pool", type=int, default=100, metavar="N", help="examples to draw from (default: 100)")
    prompt.add_argument(
        "--shot-file", type=pathlib.Path, help="labelled rows to take them from (default: the task's training data)"
    )
    prompt.add_argument(
        "--fixed-shots", action="store_true", help="the same examples in all prompts: caches can serve them"
    )
    prompt.add_argument("--instruction", type=pathlib.Path, help="a text file in place of the instruction")
    prompt.add_argument("--seed", type=int, default=0, help="of the examples (default: 0)")

    sending = parser.add_argument_group("sending")
    sending.add_argument("--concurrency", type=int, default=8, metavar="K", help="requests at a time (default: 8)")
    sending.add_argument("--timeout-seconds", type=float, default=60.0, help="longest silence (default: 60)")
    sending.add_argument(
        "--attempts", type=int, default=6, help="attempts at an item before it is set aside (default: 6)"
    )
    sending.add_argument("--backoff-seconds", type=float, default=1.0, help="first wait before a retry (default: 1)")
    sending.add_argument("--retry-set-aside", action="store_true", help="ask again for what was set aside before")


def run(args: argparse.Namespace) -> int:
    """Labels a pool, or estimates it.

    Args:
      args: as `add_arguments` declares them.

    Returns:
      0; 3 where the cap was reached before the pool's end.

    Raises:
      ValueError: an argument, a file or an endpoint that cannot be used; the message names the fix.
    """
    needed = ("pool",) if args.simulate else ("pool", "model") if args.estimate else ("pool", "model", "max_usd")
    for name in needed:
        if getattr(args, name) is None:
            raise ValueError(f"--{name.replace('_', '-')} is missing. Example: {EXAMPLE}")
    _check_numbers(args)
    form = forms.of_task(args.task, args.task_module)
    out = _out(args)
    if args.simulate:
        return _simulate(args, form, out)
    prices = _prices(args)
    prompter = _prompter(args, form)
    sources = items.read_sources(args.pool, args.limit)
    gold = _gold(args, form, sources)
    settings = Settings(
        output_tokens=args.max_output_tokens or _OUTPUT_TOKENS[form.kind],
        concurrency=args.concurrency,
        n_attempts=args.attempts,
        backoff_seconds=args.backoff_seconds,
        batch_size=args.batch_size,
        poll_seconds=args.poll_seconds,
    )
    most_counted = None if args.estimate else _MOST_COUNTED
    n_items = len(items.items_of(sources))
    left = labelling.items_left(
        sources, prompter, args.model, out, temperature=args.temperature, retry_set_aside=args.retry_set_aside
    )
    told = estimate(left, prompter, prices, settings.output_tokens, most_counted)
    if args.estimate:
        print(json.dumps(dataclasses.asdict(told), indent=2) if args.json else _estimated(told, prices, n_items))
        return 0
    endpoint = Endpoint(
        args.model,
        base_url=args.base_url,
        timeout_seconds=args.timeout_seconds,
        token_limit_field=args.token_limit_field,
        temperature=args.temperature,
        logprobs=args.logprobs,
    )
    print(f"{endpoint.model} at {endpoint.address}. {_estimated(told, prices, n_items)}", file=sys.stderr)
    if (address := labelling.address_of(out)) not in (None, endpoint.address):
        print(f"warning: the labels in {out} were begun at {address}; these go to another address.", file=sys.stderr)
    with _shown(args.max_usd) as on_progress:
        summary = labelling.label_pool(
            sources,
            prompter,
            endpoint,
            prices,
            out,
            max_usd=args.max_usd,
            settings=settings,
            retry_set_aside=args.retry_set_aside,
            invoice_usd=args.invoice_usd,
            on_progress=on_progress,
        )
    compared = _agreement(form, summary, gold) if args.gold else None
    if args.json:
        data = summary.as_dict() | {"agreement": dataclasses.asdict(compared) if compared else None}
        print(json.dumps(data, indent=2))
    else:
        print("\n".join(_told(summary, compared)))
    if summary.stopped_at_cap:
        print(
            f"Stopped at the cap of {usd_text(args.max_usd)}: {summary.n_left:,} items are left, and the next request "
            f"may cost more than is left of it. To go on: the same command with --max-usd "
            f"{max(ceil_usd(summary.needed_usd), args.max_usd + 0.01):.2f} or more.",
            file=sys.stderr,
        )
        return CAP_STATUS
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    """Checks what counts items, tokens and dollars, before any file is read."""
    for name in ("limit", "max_output_tokens"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(
                f"--{name.replace('_', '-')}: received {value}; it must be at least 1. Fix: a larger one, or none."
            )
    check_max_usd(args.max_usd)


def _out(args: argparse.Namespace) -> pathlib.Path:
    # A file of its own: a model's labelling takes what stands in its file for answers.
    made = "simulated" if args.simulate else "labels"
    out = args.out or pathlib.Path(f"{args.pool.stem}_{made}.jsonl")
    read = {f"--{name.replace('_', '-')}": getattr(args, name) for name in _READ}
    if args.prices:
        read["--prices"] = pathlib.Path(args.prices)
    items.check_out((out, labelling.ledger_path(out), labelling.set_aside_path(out)), read)
    return out


def _simulate(args: argparse.Namespace, form: forms.LabelForm, out: pathlib.Path) -> int:
    from distill_or_annotate.annotators import simulated, simulated_file

    # As a language model would be asked: each distinct item once, and of a repeated one the first truth.
    all_rows = list(read_rows(args.pool).rows)[: args.limit]
    distinct: dict[str, Row] = {}
    for row in all_rows:
        distinct.setdefault(row["source"], row)
    rows, gold = list(distinct.values()), {source: row["target"] for source, row in distinct.items()}
    annotators = simulated_file.read_annotators(args.simulate, form, gold)
    found = simulated.simulate(rows, annotators, entities=form.kind == forms.ENTITIES, max_usd=args.max_usd)
    simulated_file.write_labels(out, rows, found)
    compared = agreement(form, rows, {row["source"]: label for row, label in zip(rows, found.labels, strict=False)})
    data = {"n_labelled": len(found.labels), "n_items": len(rows), "n_repeated": len(all_rows) - len(rows)}
    data |= {"n_disputed": found.n_disputed, "usd": found.usd}
    if args.json:
        data |= {"provenance": found.provenance, "confusion": annotators.confusion.source}
        print(json.dumps(data | {"agreement": dataclasses.asdict(compared)}, indent=2))
    else:
        repeated = f", {data['n_repeated']:,} repeated rows left out" if data["n_repeated"] else ""
        print(
            f"{len(found.labels):,} of {len(rows):,} items labelled by {annotators.n_annotators} simulated annotators "
            f"for {usd_text(found.usd)}; {found.n_disputed:,} disputed"
            f"{repeated}. Mistakes are {found.provenance} "
            f"({annotators.confusion.source})."
        )
        print(compared.sentence())
        print(out)
    return CAP_STATUS if len(found.labels) < len(rows) else 0


def _prices(args: argparse.Namespace) -> TokenPrices:
    book = load_book(args.price_book, args.prices)
    prices = token_prices(book, args.model, batch=args.batch)
    entries = [book.entry(entry.partition(":")[2]) for entry in prices.price_entries]
    if warning := age_warning(entries, datetime.date.today()):
        print(f"warning: {warning}", file=sys.stderr)
    return prices


def _prompter(args: argparse.Namespace, form: forms.LabelForm) -> prompts.Prompter:
    labelled: Sequence[Row] = ()
    if args.shots and args.shot_file:
        labelled = read_rows(args.shot_file).rows
    elif args.shots:
        labelled = _training_rows(args.task)
    text = _instruction(args.instruction) if args.instruction else None
    return prompts.make_prompter(
        form,
        labelled,
        n_shots=args.shots,
        shot_pool=args.shot_pool,
        fixed=args.fixed_shots,
        seed=args.seed,
        instruction=text,
    )


def _instruction(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--instruction: {path} is not UTF-8 ({error}). Fix: save it as UTF-8.") from None


def _training_rows(task: str) -> Sequence[Row]:
    from distill_or_annotate.quiet import import_quietly

    # Through the task, since a mode of it may hold some training rows out; that imports SeqIO.
    import_quietly("tensorflow", "seqio")
    from distill_or_annotate.tasks import registry, variants

    return registry.rows(variants.variant(task), "train")


def _estimated(told: Estimate, prices: TokenPrices, n_items: int) -> str:
    left = f" left of {n_items:,}" if told.n_items < n_items else ""
    cached = f" ({told.cached_input_tokens:,} from a cache)" if told.cached_input_tokens else ""
    tier = ", batch tier" if prices.batch else ""
    return (
        f"{told.n_items:,} items{left}: about {usd_text(told.usd)} for {told.input_tokens:,} tokens in{cached} and "
        f"{told.output_tokens:,} out, at {BYTES_PER_TOKEN:g} bytes a token, more tokens than most texts take; at "
        f"most {usd_text(told.most_usd)} without retries, if each byte were a token and each answer as long as allowed "
        f"(book {prices.book}, prices of {prices.date}{tier}). One request costs at most {usd_text(told.dearest_usd)}."
    )


@contextlib.contextmanager
def _shown(max_usd: float) -> Iterator[Callable[[labelling.Progress], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("labels", total=None)

        def show(progress: labelling.Progress) -> None:
            money = progress.balance
            spent_usd = money.settled_usd + money.unconfirmed_usd
            aside = f", {progress.n_set_aside:,} set aside" if progress.n_set_aside else ""
            bar.update(
                task,
                total=progress.n_items,
                completed=progress.n_labelled + progress.n_set_aside,
                description=f"labels ({usd_text(spent_usd)} of {usd_text(max_usd)}{aside})",
            )

        yield show


def _gold(args: argparse.Namespace, form: forms.LabelForm, sources: Sequence[str]) -> Sequence[Row]:
    """Reads the gold sample before anything is spent; () without one."""
    if not args.gold:
        return ()
    rows = read_rows(args.gold).rows
    if not {row["source"] for row in rows} & set(sources):
        raise ValueError(
            f"--gold: none of the {len(rows):,} sources of {args.gold} is in the pool. Fix: put them into the pool, "
            "first, or leave the option out."
        )
    for row in rows if form.kind == forms.CLASSES else ():
        try:
            form.read(row["target"], row["source"])
        except forms.Rejected as error:
            raise ValueError(f"--gold: {args.gold}, the row {row['source'][:60]!r}: {error}.") from None
    return rows


def _agreement(form: forms.LabelForm, summary: labelling.Summary, gold: Sequence[Row]) -> Agreement:
    labels, confidences = {}, {}
    with summary.out.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            labels[row["source"]] = row["prediction"]
            if "confidence" in row:
                confidences[row["source"]] = row["confidence"]
    return agreement(form, gold, labels, confidences)


def _told(summary: labelling.Summary, compared: Agreement | None) -> Iterator[str]:
    money = summary.balance
    aside = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.set_aside.items()))
    yield (
        f"{summary.n_labelled:,} of {summary.n_items:,} items labelled, {summary.n_set_aside:,} set aside"
        f"{f' ({aside})' if aside else ''}, {summary.n_left:,} left."
    )
    yield (
        f"{usd_text(money.settled_usd)} settled for {money.input_tokens:,} tokens in ({money.cached_input_tokens:,} "
        f"cached) and {money.output_tokens:,} out; {usd_text(money.unconfirmed_usd)} unconfirmed. The invoice is at "
        f"most {usd_text(money.most_usd)}."
    )
    if summary.n_labelled:
        others = summary.n_paid_labels - summary.n_labelled
        of_all = f" of the {summary.n_paid_labels:,} in these books" if others else ""
        yield f"{usd_text(money.settled_usd / summary.n_paid_labels)} settled for each label{of_all}."
    if compared:
        yield compared.sentence()
    yield str(summary.out)
