"""One child process: its channel, its life and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from ._frames import frame, read_frame
from ._messages import Answer, Garbled, Job, Welcome

_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; from kapusta._child import main; main(*map(int, sys.argv[1:3]))"
)
"""What a child begins with: before anything else it imports from where its parent does, and nowhere else."""

MOST_BESIDES_RESULT: Final = 1 << 18
"""How many bytes an answer may take apart from a result: an error is text that was cut."""

KILL_GRACE: Final = timedelta(seconds=2)
"""How long a child has between SIGTERM and SIGKILL, and to end when its work is over, in real time."""


class Child:
    """A child process in a session of its own; used by the worker's loop.

    The child and whatever it started are one process group, and are killed as one: first with SIGTERM, then
    with SIGKILL. A child whose parent is gone ends itself.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lifeline: int,
        most: int,
    ) -> None:
        self._process, self._reader, self._writer, self._most = process, reader, writer, most
        self._gone = asyncio.create_task(process.wait(), name=f"kapusta: child process {process.pid}")
        self._word: asyncio.Task[Answer | Garbled | None] | None = None
        self._gone.add_done_callback(lambda _: self._end_group(lifeline))

    @classmethod
    async def start(
        cls,
        environment: Mapping[str, str] | None,
        max_result_bytes: int,
        pickle_secrets: Sequence[bytes] | None = None,
    ) -> Child:
        """Start a child.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair()
        lifeline, hold = os.pipe()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    _PROGRAM,
                    str(theirs.fileno()),
                    str(lifeline),
                    *sys.path,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), lifeline),
                    env=environment,
                    start_new_session=True,
                )
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            os.close(hold)
            raise
        finally:
            os.close(lifeline)
        secrets = None if pickle_secrets is None else list(pickle_secrets)
        welcome = Welcome([os.fsencode(word) for word in sys.argv], max_result_bytes, secrets)
        writer.write(frame(msgspec.msgpack.encode(welcome)))
        return cls(process, reader, writer, hold, max_result_bytes + MOST_BESIDES_RESULT)

    @property
    def pid(self) -> int:
        """The process id; also that of its process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it lives, as far as is known."""
        return self._process.returncode is None and not self._reader.at_eof()

    @property
    def is_usable(self) -> bool:
        """Whether it can be given a job: it lives, and has said nothing since it has answered the last one."""
        return self.is_alive and (self._word is None or not self._word.done())

    def tell(self, job: Job) -> None:
        """Give it a job; it has none yet."""
        self._writer.write(frame(msgspec.msgpack.encode(job)))

    def listen(self) -> asyncio.Task[Answer | Garbled | None]:
        """Begin to read what it says next, also without a job."""
        if self._word is None:
            self._word = asyncio.create_task(self._read(), name=f"kapusta: word of {self.pid}")
        return self._word

    async def hear(self) -> Answer | Garbled | None:
        """What it says next; ``None`` if it is gone."""
        word = self.listen()
        await asyncio.wait({word, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        # What it had said is on its way. A copy of it that has left its group, and is no Python, may keep the channel open.
        await asyncio.wait({word}, timeout=KILL_GRACE.total_seconds())
        if not word.done():
            return None
        self._word = None
        return word.result()

    def let_go(self) -> None:
        """Close its channel: with that it ends itself, and a body that runs in it."""
        self._writer.close()

    async def see_off(self) -> None:
        """Let it end by itself, now that it has no job; kill it if it does not."""
        self._writer.close()
        if not await self._ends_in_time():
            await self.kill()

    async def kill(self) -> None:
        """End it, and its whole process group."""
        self._signal(signal.SIGTERM)
        try:
            # A body that takes SIGTERM for its end, and clears up, gives an answer that nobody needs any more.
            ends = {self._gone} if self._word is None else {self._gone, self._word}
            grace = KILL_GRACE.total_seconds()
            await asyncio.wait(ends, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._signal(signal.SIGKILL)
            self._writer.close()  # not before: a child whose channel closes grants its body no grace
        await asyncio.wait({self._gone})

    async def death(self) -> str:
        """How it ended, for people: it is gone, or about to be."""
        await self.see_off()
        code = self._process.returncode
        if code is None or code >= 0:
            return f"its child process ended with exit code {code} before it had answered"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its child process was ended by signal {-code}, {name}{hint}"

    async def _read(self) -> Answer | Garbled | None:
        try:
            data = await read_frame(self._reader, self._most)
            if data is None:
                return None
            answer = msgspec.msgpack.decode(data, type=Answer)
        except (ValueError, RecursionError) as problem:
            return Garbled(str(problem))
        return Garbled("it says nothing") if answer == Answer(answer.number) else answer

    def _end_group(self, lifeline: int) -> None:
        """It is gone, and what it has started goes with it; the group's number is theirs while one lives."""
        os.close(lifeline)
        _signal_group(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Once it is gone, and its group with it, the number may be another's.
        if self._process.returncode is None:
            _signal_group(self.pid, number)

    async def _ends_in_time(self) -> bool:
        await asyncio.wait({self._gone}, timeout=KILL_GRACE.total_seconds())
        return self._gone.done()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return  # all of them are gone
