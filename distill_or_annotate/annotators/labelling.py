"""Labels a pool with a language model under a cap: the Python call behind `doa annotate` and the stage `llm_label`."""

import contextlib
import dataclasses
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate.annotators import accounts, items
from distill_or_annotate.annotators.accounts import Account, AccountError, Balance
from distill_or_annotate.annotators.batches import Batches
from distill_or_annotate.annotators.endpoint import Endpoint
from distill_or_annotate.annotators.items import Item, LabelFile
from distill_or_annotate.annotators.prompts import Prompter
from distill_or_annotate.annotators.token_prices import TokenPrices
from distill_or_annotate.annotators.workers import Settings, Verdict, Workers, set_aside
from distill_or_annotate.ledger import CapReached
from distill_or_annotate.ledger.journal import Row, Transaction

# What makes two labellings different ones, so that their labels must not share a file. Older books don't say
# the temperature.
_IDENTITY = ("task", "model", "prompt", "temperature")
# Processes that may end while an item is under way, for each attempt that it has.
_LOST_PER_ATTEMPT = 2


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a labelling has come to.

    Attributes:
      n_items: distinct items of the pool.
      n_labelled: those with a label.
      set_aside: reason -> items that were set aside for it.
      balance: where the money stands.
      stopped_at_cap: why it stopped short of the pool; '' where it did not.
      needed_usd: a cap under which the next request fits; 0 where none was refused.
      out: the file of labels.
      n_paid_labels: labels in the books, those of items that this pool lacks included: what the balance paid for.
    """

    n_items: int
    n_labelled: int
    set_aside: dict[str, int]
    balance: Balance
    stopped_at_cap: str
    needed_usd: float
    out: pathlib.Path
    n_paid_labels: int

    @property
    def n_set_aside(self) -> int:
        """Items that were tried in vain."""
        return sum(self.set_aside.values())

    @property
    def n_left(self) -> int:
        """Items that nobody has tried to the end."""
        return self.n_items - self.n_labelled - self.n_set_aside

    def as_dict(self) -> dict[str, Any]:
        """Returns the summary as JSON-ready values."""
        data = dataclasses.asdict(self) | {"out": str(self.out)}
        return data | {"n_set_aside": self.n_set_aside, "n_left": self.n_left}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a labelling is, while it runs.

    Attributes:
      n_items: distinct items of the pool.
      n_labelled: those with a label.
      n_set_aside: those set aside.
      balance: where the money stands.
    """

    n_items: int
    n_labelled: int
    n_set_aside: int
    balance: Balance


def ledger_path(out: pathlib.Path) -> pathlib.Path:
    """Returns where the books of a file of labels lie.

    Args:
      out: the file of labels.
    """
    return out.with_name(f"{out.name}.ledger.jsonl")


def set_aside_path(out: pathlib.Path) -> pathlib.Path:
    """Returns where the items lie that were set aside.

    Args:
      out: the file of labels.
    """
    return out.with_name(f"{out.name}.set_aside.jsonl")


def label_pool(
    sources: Sequence[str],
    prompter: Prompter,
    endpoint: Endpoint,
    prices: TokenPrices,
    out: pathlib.Path,
    *,
    max_usd: float | None,
    settings: Settings | None = None,
    retry_set_aside: bool = False,
    retry_unbilled: bool = False,
    invoice_usd: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Labels the items of a pool, each once; called again, it goes on where it stopped.

    Args:
      sources: the texts; a text that stands there twice is labelled once.
      prompter: task, instruction and examples (`prompts.make_prompter`).
      endpoint: the model.
      prices: dollars of a token (`token_prices`); those of the batch tier send the requests as batches.
      out: the file of labels; its books and what was set aside lie beside it.
      max_usd: settled and unconfirmed dollars never pass it; None for no cap.
      settings: how requests are made; None takes the defaults.
      retry_set_aside: whether to try again what was set aside before.
      retry_unbilled: whether to try again what was set aside before and cost nothing, such as requests refused.
      invoice_usd: what the provider says all requests so far cost; settles what is unconfirmed.
      on_progress: called after each item, from one thread at a time.

    Returns:
      What it has come to; `stopped_at_cap` tells whether the cap ended it.

    Raises:
      PoolError: an empty pool or item.
      AccountError: the books belong to another labelling, another process has them open, or `out` holds something
        and has no books.
      EndpointError: the endpoint refuses everything.
    """
    settings = settings or Settings()
    pool = items.items_of(sources)
    if not ledger_path(out).exists():
        _check_not_foreign(out)
    with accounts.opened(ledger_path(out), max_usd) as account:
        _check_identity(account, prompter, endpoint, prices, out)
        account.close_lost()
        _set_aside_lost(account, pool, settings.n_attempts)
        if invoice_usd is not None:
            account.reconcile(invoice_usd)
        if retry_set_aside or retry_unbilled:
            billed = set() if retry_set_aside else account.billed_items()
            for key in [item.key for item in pool if item.key in account.set_aside_rows.keys() - billed]:
                account.note("taken_back", item=key)
        with contextlib.closing(LabelFile(out, pool, account.answers)) as file:

            def on_item(item: Item) -> None:
                if item.key in account.answers:
                    file.add(item, account.answers[item.key])
                on_progress(_progress(account, pool))

            on_progress(_progress(account, pool))
            over = {*account.answers, *account.set_aside_rows}
            todo = [item for item in pool if item.key not in over]
            batches = Batches(endpoint, prompter, account, prices, settings, on_item)
            work = batches if prices.batch else Workers(endpoint, prompter, account, prices, settings, on_item)
            try:
                # A batch that an earlier call sent is fetched first, whatever tier this one asks for.
                if collected := batches.collect(pool):
                    todo = [item for item in todo if item.key not in collected]
                if todo:
                    work.run(todo)
            finally:
                file.rewrite(account.answers)
                _write_set_aside(set_aside_path(out), pool, account)
        return _summary(account, pool, out, work.cap)


def address_of(out: pathlib.Path) -> str | None:
    """Returns the address at which a labelling was begun; None where there are no books, or they don't say.

    Args:
      out: the file of labels.
    """
    known = _header(Transaction(ledger_path(out)))
    return known.get("address") if known else None


def items_left(
    sources: Sequence[str],
    prompter: Prompter,
    model: str,
    out: pathlib.Path,
    *,
    temperature: float | None = None,
    retry_set_aside: bool = False,
) -> list[Item]:
    """Returns the items of a pool that a labelling would still send; reads its books alone, and writes nothing.

    Args:
      sources: the texts.
      prompter: task, instruction and examples.
      model: the model's name at the endpoint.
      out: the file of labels.
      temperature: as the endpoint is asked for it.
      retry_set_aside: whether what was set aside would be sent again.

    Raises:
      PoolError: an empty pool or item.
      JournalError: the books were changed by hand.
    """
    pool = items.items_of(sources)
    account = Account(Transaction(ledger_path(out)), None)
    known = _header(account)
    if known is None or _differing(known, _identity(prompter, model, temperature)):
        return pool
    over = {*account.answers, *(() if retry_set_aside else (*account.set_aside_rows, *account.hopeless))}
    # An open batch is paid for.
    over.update(*(row.get("item_usd", ()) for row in account.open_reserves()))
    return [item for item in pool if item.key not in over]


def _identity(prompter: Prompter, model: str, temperature: float | None) -> Row:
    return {
        "task": prompter.form.task,
        "model": model,
        "prompt": prompter.digest(),
        "temperature": temperature,
    }


def _differing(known: Row, header: Row) -> str | None:
    """The field in which two labellings differ; None where they are one."""
    return next((field for field in _IDENTITY if field in known and known[field] != header[field]), None)


def _header(books: Account | Transaction) -> Row | None:
    return next((row for row in books.rows if row["status"] == "header"), None)


def _set_aside_lost(account: Account, pool: Sequence[Item], n_attempts: int) -> None:
    """Sets aside what a killed process had no time to, and items that were under way at the end of many processes.

    Most of those were there by chance: they have twice the attempts, and none of it counts as one.
    """
    for item in pool:
        if item.key in account.answers or item.key in account.set_aside_rows:
            continue
        if row := account.hopeless.get(item.key):
            set_aside(account, item, Verdict(row["outcome"], detail=row.get("detail", "")), n_attempts)
        elif account.n_lost[item.key] >= _LOST_PER_ATTEMPT * n_attempts:
            n_lost = account.n_lost[item.key]
            told = {"reason": accounts.GONE, "detail": f"{n_lost} processes ended while it was asked for"}
            account.note("set_aside", item=item.key, **told, n_attempts=account.n_failures[item.key] + n_lost)


def _check_not_foreign(out: pathlib.Path) -> None:
    """Refuses a file that no books tell of: it would be written over."""
    if out.exists() and (not out.is_file() or out.stat().st_size):
        raise AccountError(
            f"--out: {out} is there, and its books ({ledger_path(out).name}) are not: what it holds would be written "
            "over. Fix: another --out; or bring its books back, and the labelling goes on where it was."
        )


def _check_identity(
    account: Account, prompter: Prompter, endpoint: Endpoint, prices: TokenPrices, out: pathlib.Path
) -> None:
    known, header = _header(account), _identity(prompter, endpoint.model, endpoint.temperature)
    if known is None:
        _check_not_foreign(out)
        details = {"address": endpoint.address, "shots": prompter.n_shots, "fixed_shots": prompter.fixed}
        account.note("header", **header, **details, seed=prompter.seed, prices=dataclasses.asdict(prices))
        return
    if field := _differing(known, header):
        what = "instruction, examples, --shots or --seed" if field == "prompt" else field
        raise AccountError(
            f"{out} was labelled with another {what} ({known[field]!r}, now {header[field]!r}). Fix: give that, or "
            "another --out."
        )


def _progress(account: Account, pool: Sequence[Item]) -> Progress:
    return Progress(len(pool), len(account.answers), len(account.set_aside_rows), account.balance())


def _write_set_aside(path: pathlib.Path, pool: Sequence[Item], account: Account) -> None:
    found = [(item, account.set_aside_rows[item.key]) for item in pool if item.key in account.set_aside_rows]
    if found or path.exists():
        items.replace_file(path, (items.set_aside_line(item, row) for item, row in found))


def _summary(account: Account, pool: Sequence[Item], out: pathlib.Path, cap: CapReached | None) -> Summary:
    aside = [account.set_aside_rows[item.key] for item in pool if item.key in account.set_aside_rows]
    return Summary(
        n_items=len(pool),
        n_labelled=sum(item.key in account.answers for item in pool),
        set_aside=dict(Counter(row["reason"] for row in aside)),
        balance=account.balance(),
        stopped_at_cap=str(cap) if cap else "",
        needed_usd=cap.settled_usd + cap.reserved_usd + cap.worst_usd if cap else 0.0,
        out=out,
        n_paid_labels=len(account.answers),
    )
