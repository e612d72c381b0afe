"""Many changes, and one by one where all of them at once meet a row that somebody keeps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from .._errors import StoreUnavailableError
from .._records import Change, ChangeAnswer
from .._store import Store

IN_A_ROW: Final = 2
"""After so many changes in a row that another writer was in the way of, it is not a row that is locked."""


async def change_apart(
    store: Store, changes: Sequence[Change]
) -> tuple[list[ChangeAnswer | None], StoreUnavailableError | None]:
    """What the store answers to each change; ``None`` to those that it could not write now, and why.

    A row that another transaction keeps locked makes a whole batch fail. It must not keep its neighbours waiting
    for as long as that transaction is open, so then each is written by itself; in any order, so that no two rows
    stand in front of the others for ever.

    Raises:
        StoreUnavailableError: none of them could be written.
    """
    try:
        return [changed.answer for changed in await store.change(changes)], None
    except StoreUnavailableError as problem:
        if not problem.busy or len(changes) == 1:
            raise
    answers: list[ChangeAnswer | None] = [None] * len(changes)
    trouble: StoreUnavailableError | None = None
    in_a_row = 0
    for place in random.sample(range(len(changes)), len(changes)):
        try:
            (changed,) = await store.change([changes[place]])
        except StoreUnavailableError as error:
            trouble = error
            in_a_row += 1
            if not error.busy or in_a_row == IN_A_ROW:
                break
        else:
            answers[place] = changed.answer
            in_a_row = 0
    return answers, trouble
