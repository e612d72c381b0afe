"""One executor per mode."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .._clock import Clock
from .._codec import Codecs
from .._enums import TaskExecutionMode
from .._pickle_codec import PickleCodec
from ._async import AsyncExecutor
from ._attempt import Executor
from ._sync import SyncExecutor
from ._thread import ThreadExecutor
from ._watching import Watchdog


def make_executors(
    clock: Clock,
    logger: logging.Logger,
    *,
    process_environment: Mapping[str, str] | None,
    max_result_bytes: int,
    max_processes: int,
    codecs: Codecs,
    watchdog: Watchdog | None,
) -> dict[TaskExecutionMode, Executor]:
    """An executor for each mode."""
    from ._process import ProcessExecutor

    pickle_secrets = codecs.writer.secrets() if isinstance(codecs.writer, PickleCodec) else None
    return {
        TaskExecutionMode.async_: AsyncExecutor(clock),
        TaskExecutionMode.sync: SyncExecutor(clock, logger),
        TaskExecutionMode.thread: ThreadExecutor(clock),
        TaskExecutionMode.process: ProcessExecutor(
            clock, process_environment, max_result_bytes, max_processes, pickle_secrets, watchdog
        ),
    }
