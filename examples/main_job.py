"""An evening in a small web shop: what must be done is launched, run, and read back by another process.

    python examples/main_job.py

Everything is kept in one SQLite file in a temporary folder. One process launches the tasks and runs them: in every
mode, one with an eta, one that fails and is tried again, one that takes too long, one that comes too late. Then a second
process (``--report FILE``) opens the file and prints what has become of each. The exit code is 0 if all is as it should be.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import subprocess
import sys
import tempfile
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kapusta import Kapusta, TaskHandle, TaskStatus
from kapusta.backend import StoredTask, TaskQuery

kapusta = Kapusta(crud="sqlite+aiosqlite:///tasks.db")  # in the folder where the program runs


@dataclass
class Order:
    """What a customer has ordered: arguments may be dataclasses, and arrive as such."""

    number: int
    customer: str
    email: str
    total: Decimal


ORDERS = [
    Order(1001, "Ada", "ada@example.org", Decimal("49.90")),
    Order(1002, "Grace", "grace@example.org", Decimal("120.00")),
    Order(1003, "Linus", "linus at example.org", Decimal("7.50")),
]


@kapusta.task()
def book_order(order: Order) -> dict[str, Decimal]:
    """Split a price into net and tax: quick and without waiting, so it may run in the loop's own thread."""
    net = (order.total / Decimal("1.2")).quantize(Decimal("0.01"))
    return {"net": net, "tax": order.total - net}


@kapusta.task()
async def send_invoice(order: Order) -> str:
    """Write to the customer: waits for the network, so it is a coroutine."""
    if "@" not in order.email:
        raise ValueError(f"order {order.number}: {order.email!r} is no address")
    await asyncio.sleep(0.1)
    return f"invoice {order.number} sent to {order.email}"


@kapusta.task("thread")
def export_ledger(orders: list[Order], target: str) -> str:
    """Write a file: blocks, so it has a thread."""
    with Path(target).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "customer", "total"])
        rows.writerows([order.number, order.customer, order.total] for order in orders)
    return f"{len(orders)} orders in {target}"


@kapusta.task("process", timeout=30)
def make_thumbnail(photo: str, width: int) -> str:
    """Shrink a picture: keeps a processor busy, so it has a process of its own."""
    pixels, columns, rows = read_picture(Path(photo))
    step = columns // width
    small = b"".join(
        pixels[3 * place : 3 * place + 3]
        for row in range(0, rows, step)
        for place in range(row * columns, (row + 1) * columns, step)
    )
    thumbnail = Path(photo).with_suffix(".small.ppm")
    thumbnail.write_bytes(b"P6 %d %d 255\n" % (columns // step, rows // step) + small)
    return f"{thumbnail}: {columns}x{rows} became {columns // step}x{rows // step}"


@kapusta.task(max_retry_attempts=3, backoff=0.5)
async def charge_card(order: Order) -> str:
    """Ask the bank for the money; it may be out of reach for a moment."""
    answer = next(BANK_ANSWERS)
    if answer != "approved":
        raise ConnectionError(f"the bank answered {answer}")
    return f"{order.total} {answer} for order {order.number}"


@kapusta.task(timeout=0.5)
async def fetch_exchange_rates(currency: str) -> Decimal:
    """Ask a server that takes the question and never answers."""
    await asyncio.Event().wait()
    return Decimal(1)


@kapusta.task()
async def remind(order: Order) -> str:
    """Remind a customer, at a time that was chosen when the order came in."""
    return f"{order.customer} was reminded of order {order.number}"


@kapusta.task(overdue_time=0.2)
async def announce_flash_sale(percent: int) -> str:
    """Worth sending at once or not at all."""
    return f"{percent} % off, now!"


BANK_ANSWERS = iter(["503 Service Unavailable", "approved"])

EXPECTED = {
    book_order.name: [TaskStatus.success],
    send_invoice.name: [TaskStatus.success, TaskStatus.error],
    export_ledger.name: [TaskStatus.success],
    make_thumbnail.name: [TaskStatus.success],
    charge_card.name: [TaskStatus.success],
    fetch_exchange_rates.name: [TaskStatus.timeout],
    remind.name: [TaskStatus.success],
    announce_flash_sale.name: [TaskStatus.overdue],
}


async def run() -> None:
    """Launch everything, and run it until nothing is left to do."""
    await kapusta.crud.startup()  # from here on tasks can be launched; nothing runs them yet
    ada, grace, linus = ORDERS
    launched: list[TaskHandle[Any]] = [
        await announce_flash_sale.launch(percent=20),
        await book_order.launch(ada),
        await send_invoice.launch(ada),
        await send_invoice.launch(linus),
        await export_ledger.launch(ORDERS, target="ledger.csv"),
        await make_thumbnail.launch(photo="teapot.ppm", width=64),
        await charge_card.launch(grace),
        await fetch_exchange_rates.launch(currency="EUR"),
        await remind.with_options(eta=datetime.now(UTC) + timedelta(seconds=2)).launch(grace),
    ]
    await asyncio.sleep(0.3)  # the sale is over before anybody looks

    async with kapusta:
        results = (task.result(timeout=20) for task in launched)
        await asyncio.gather(*results, return_exceptions=True)


async def report(file: str) -> bool:
    """Print what a store holds, and answer whether it is what was to be expected.

    This process knows the file and none of the functions: it reads, and runs nothing.
    """
    reader = Kapusta(crud=f"sqlite+aiosqlite:///{file}")
    await reader.crud.startup()
    tasks = await reader.crud.find_tasks(TaskQuery(limit=100))
    results = [await reader.get_task_result(task.id) for task in tasks]
    await reader.shutdown()
    show(list(tasks), results)
    found: dict[str, list[TaskStatus]] = {}
    for task in tasks:
        found.setdefault(task.name, []).append(task.status)
    return found == EXPECTED


def show(tasks: list[StoredTask], results: list[object]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "mode", "status", "runs", "failed", "due", "ended", "what came of it")
    beginning = min((task.created for task in tasks), default=datetime.now(UTC))
    for task, result in zip(tasks, results, strict=True):
        table.add_row(
            task.name.rpartition(".")[2],
            task.mode,
            task.status,
            str(task.run),
            str(task.failures),
            seconds(task.eta, beginning),
            seconds(task.finished, beginning),
            str(result or task.reason or last_line(task.error)),
            style="green" if task.status is TaskStatus.success else "yellow",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def seconds(moment: datetime | None, beginning: datetime) -> str:
    """How long after the beginning a moment was."""
    return "" if moment is None else f"{(moment - beginning).total_seconds():.2f} s"


def last_line(error: str | None) -> str:
    """What a traceback comes down to."""
    return (error or "").strip().rpartition("\n")[2]


def read_picture(path: Path) -> tuple[bytes, int, int]:
    """The pixels of a picture in the binary PPM format, three bytes each, and its columns and rows."""
    header, _, pixels = path.read_bytes().partition(b"\n")
    _, columns, rows, _ = header.split()
    return pixels, int(columns), int(rows)


def take_photo(path: Path, columns: int = 640, rows: int = 480) -> None:
    """Write a picture to work on: a red and green gradient."""
    pixels = bytes(
        value for row in range(rows) for column in range(columns) for value in (row % 256, column % 256, 90)
    )
    path.write_bytes(b"P6 %d %d 255\n" % (columns, rows) + pixels)


def main() -> int:
    """Run the evening in a folder of its own, and have another process read what it left behind."""
    if sys.argv[1:2] == ["--report"]:
        return 0 if asyncio.run(report(sys.argv[2])) else 1
    program = Path(__file__).resolve()
    with tempfile.TemporaryDirectory(prefix="kapusta-") as folder, chdir(folder):
        logging.basicConfig(filename="worker.log")  # what goes wrong is logged, too; here the table tells it
        take_photo(Path("teapot.ppm"))
        asyncio.run(run())
        return subprocess.run([sys.executable, program, "--report", "tasks.db"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
