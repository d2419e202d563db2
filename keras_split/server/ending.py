"""How a call is broken off from another thread."""

import asyncio


class Ending:
    """Cancels the task that made it, once.

    Attributes:
        ended: Whether it did; else somebody else cancelled the task.
    """

    def __init__(self) -> None:
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()

    def end(self) -> None:
        """Cancels it; called from any thread."""
        self._loop.call_soon_threadsafe(self._cancel)

    def over(self) -> None:
        """It has ended otherwise."""
        self._task = None

    def _cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self.ended = True
            task.cancel()
