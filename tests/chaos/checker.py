"""What must hold of a run, as functions of what happened and of what is stored in the end.

Two facts carry most of it. A run of a task (its number grows with each claim) is closed once: by its holder, by a
rescue, or by a person; all later words of it must have been refused. And all processes of a machine share one clock, so
of a write that was sent after the answer to another one was there it is known which came first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from tests.chaos.events import Claim, Launch
from tests.chaos.history import Body, History, Row, Write

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

ENDED: Final = frozenset({"success", "error", "timeout", "overdue", "cancelled", "held"})


class Violation(NamedTuple):
    """Something that must not be.

    Attributes:
        rule: the name of the invariant.
        what: the sentence.
    """

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def violations(history: History, rows: Sequence[Row]) -> list[Violation]:
    """All that is wrong."""
    return [Violation(name, what) for name, rule in RULES.items() for what in rule(history, rows)]


def _grouped(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return groups


def _writes_by_run(history: History) -> dict[tuple[int, int], list[Write]]:
    return _grouped(history.writes, lambda it: (it.asked.task, it.asked.run))


def _claims_by_task(history: History) -> dict[int, list[Claim]]:
    return _grouped(history.claims, lambda it: it.task)


def _launches_by_task(history: History, rows: Sequence[Row]) -> dict[int, Launch]:
    by_serial = {launch.serial: launch for launch in history.launches}
    return {row.task: by_serial[row.serial] for row in rows if row.serial in by_serial}


def _bodies_by_run(history: History) -> dict[tuple[int, int], list[Body]]:
    return _grouped(history.bodies, lambda it: (it.began.task, it.began.run))


# --- launches ---------------------------------------------------------------------------------------


def every_task_ends(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """Whatever was launched has a final status, or waits for a person; also: it drained, by itself."""
    for row in rows:
        if row.status not in ENDED:
            yield f"task {row.task} is still '{row.status}', in run {row.run}"


def no_launch_is_lost(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """An acknowledged launch is stored, under the id that was answered."""
    tasks = {row.task: row for row in rows}
    for stored in history.stored:
        row = tasks.get(stored.task)
        if row is None:
            yield f"launch {stored.serial} was acknowledged as task {stored.task}, which is not there"
        elif row.serial != stored.serial:
            yield f"launch {stored.serial} was acknowledged as task {stored.task}, which is of launch {row.serial}"


def no_task_is_there_twice(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """A launch, however often it was sent, is one task; and no task comes from nowhere."""
    launched = {launch.serial for launch in history.launches}
    for serial, count in Counter(row.serial for row in rows).items():
        if count > 1:
            yield f"launch {serial} is there {count} times"
        if serial not in launched:
            yield f"launch {serial} is there, and nobody launched it"


# --- the fence --------------------------------------------------------------------------------------


def a_run_belongs_to_one_worker(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """No number of a run is given twice."""
    for (task, run), claims in _grouped(history.claims, lambda it: (it.task, it.run)).items():
        if len(claims) > 1:
            workers = ", ".join(sorted({claim.worker for claim in claims}))
            yield f"run {run} of task {task} was claimed {len(claims)} times: by {workers}"


def an_outcome_is_written_once(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """Of all that was said about one run by its holder, one answer was accepted; the others were repeats of it."""
    for (task, run), writes in _writes_by_run(history).items():
        kept = [write for write in writes if write.is_of_its_run and write.is_kept]
        accepted = [write for write in kept if write.answer == "accepted"]
        if len(accepted) > 1:
            yield f"run {run} of task {task} was settled {len(accepted)} times"
        said = {(write.asked.status, write.asked.nonce) for write in kept}
        if len(said) > 1:
            yield f"run {run} of task {task} was settled in different ways: {sorted(map(str, said))}"
        rescues = [write for write in writes if write.is_rescue]
        if len(rescues) > 1:
            yield f"run {run} of task {task} was rescued {len(rescues)} times"


def no_outcome_of_a_lost_run(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """No outcome is accepted from a run whose task has been rescued, claimed again, retried or cancelled since."""
    claims = _claims_by_task(history)
    by_hand = _grouped(
        (write for write in history.writes if write.is_by_hand and write.answered is not None),
        lambda it: it.asked.task,
    )
    for (task, run), writes in _writes_by_run(history).items():
        rescued = any(write.is_rescue and write.asked.status != "held" for write in writes)
        for write in writes:
            if not write.is_of_its_run or write.answer != "accepted":
                continue
            sent = write.asked.at
            what = f"an outcome of run {run} of task {task}, '{write.asked.status}', was accepted"
            if rescued:
                yield f"{what}, although the run was rescued"
            if later := [claim for claim in claims[task] if claim.run > run and claim.at < sent]:
                yield f"{what} after run {later[0].run} had begun"
            for hand in by_hand.get(task, ()):
                if hand.is_kept and hand.asked.run >= run and (hand.answered or sent) < sent:
                    yield f"{what} after a person had made the task '{hand.asked.status}'"


# --- effects ----------------------------------------------------------------------------------------


def a_body_begins_once_a_run(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """Each time a body begins it is in the name of a claim of its own."""
    for (task, run), bodies in _bodies_by_run(history).items():
        if len(bodies) > 1:
            yield f"the body of task {task} began {len(bodies)} times in run {run}"


def a_stored_answer_is_its_own_bodys(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """What is stored as a task's answer was said by one body, in the run that is stored; and is nobody else's."""
    bodies = {body.began.nonce: body for body in history.bodies}
    for nonce, mine in _grouped((row for row in rows if row.nonce), lambda it: it.nonce).items():
        if len(mine) > 1:
            yield f"{nonce} is the answer of {len(mine)} tasks"
    for row in rows:
        if row.status == "success" and row.nonce is None:
            yield f"task {row.task} is a success without an answer"
        if row.nonce is None or row.status not in ("success", "error"):
            continue
        body = bodies.get(row.nonce)
        how = "returned" if row.status == "success" else "raised"
        if body is None or body.how != how:
            yield f"task {row.task} is '{row.status}' by {row.nonce}, which never {how}"
        elif (body.began.task, body.began.run) != (row.task, row.run):
            yield (
                f"task {row.task} is '{row.status}' in run {row.run} by {row.nonce}, which began in run "
                f"{body.began.run} of task {body.began.task}"
            )


def an_accepted_answer_is_its_own_bodys(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """So is every answer that was accepted on the way."""
    bodies = {body.began.nonce: body for body in history.bodies}
    for write in history.writes:
        nonce = write.asked.nonce
        if nonce is None or not write.is_kept:
            continue
        body = bodies.get(nonce)
        if body is None or (body.began.task, body.began.run) != (write.asked.task, write.asked.run):
            yield f"an outcome of run {write.asked.run} of task {write.asked.task} was accepted for another's effect"


def an_accepted_outcome_stays(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """What was acknowledged as a task's end is its end still, unless a person wanted otherwise."""
    stored = {row.task: row for row in rows}
    writes = _grouped(history.writes, lambda it: it.asked.task)
    for task, mine in writes.items():
        if any(write.is_another_life and write.may_be_kept for write in mine):
            continue
        ends = [write for write in mine if write.is_kept and write.asked.status in ENDED - {"held"}]
        row = stored.get(task)
        for write in ends:
            if row is not None and (row.status, row.run) != (write.asked.status, write.asked.run):
                yield (
                    f"task {task} was acknowledged as '{write.asked.status}' in run {write.asked.run}, and is "
                    f"'{row.status}' in run {row.run}"
                )


# --- policies ---------------------------------------------------------------------------------------


def what_is_held_begins_no_more(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """With ``hold``, a body begins once, once more per retry by hand, and once more per failure that was reported."""
    begun = Counter(body.began.task for body in history.bodies)
    writes = _grouped(history.writes, lambda it: it.asked.task)
    for task, launch in _launches_by_task(history, rows).items():
        if not launch.hold:
            continue
        mine = [write for write in writes.get(task, ()) if write.may_be_kept]
        again = {
            write.asked.run
            for write in mine
            if (write.is_another_life or write.is_failure) and write.asked.status == "pending"
        }
        if begun[task] > 1 + len(again):
            yield f"task {task} is to be held after a crash, began {begun[task]} times, and was retried {len(again)} times"


def a_retry_respects_its_count(history: History, rows: Sequence[Row]) -> Iterator[str]:
    """As many failures are followed by another attempt as were asked for: no more, and no fewer."""
    launches = _launches_by_task(history, rows)
    for task, writes in _grouped(history.writes, lambda it: it.asked.task).items():
        if (launch := launches.get(task)) is None:
            continue
        lives = sorted({w.asked.run for w in writes if w.is_another_life and w.may_be_kept})
        seen: set[tuple[int, int, int]] = set()
        for write in writes:
            if not write.is_failure or not write.is_kept:
                continue
            count = write.asked.failures or 0
            if write.asked.status == "pending" and count > launch.attempts:
                yield f"task {task} was put off after failure {count}, with {launch.attempts} retries"
            # What has a deadline is given up where the next attempt would come after it.
            is_given_up = write.asked.status in ("error", "timeout") and launch.name != "punctual"
            if is_given_up and count <= launch.attempts:
                yield f"task {task} was given up after failure {count}, with {launch.attempts} retries"
            life = sum(1 for run in lives if run < write.asked.run)
            seen.add((life, count, write.asked.run))
        for (life, count), times in Counter((life, count) for life, count, _ in seen).items():
            if times > 1:
                yield f"task {task} had its failure {count} {times} times in its life {life + 1}"


RULES: Final[dict[str, Callable[[History, Sequence[Row]], Iterator[str]]]] = {
    rule.__name__: rule
    for rule in (
        every_task_ends,
        no_launch_is_lost,
        no_task_is_there_twice,
        a_run_belongs_to_one_worker,
        an_outcome_is_written_once,
        no_outcome_of_a_lost_run,
        a_body_begins_once_a_run,
        a_stored_answer_is_its_own_bodys,
        an_accepted_answer_is_its_own_bodys,
        an_accepted_outcome_stays,
        what_is_held_begins_no_more,
        a_retry_respects_its_count,
    )
}
