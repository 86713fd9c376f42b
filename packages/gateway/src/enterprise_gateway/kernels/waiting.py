"""Waiting for whichever of several things comes about first."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["first_of"]

Result = TypeVar("Result")


async def first_of(*coroutines: Coroutine[Any, Any, Result]) -> Result:
    """Return what the first of some coroutines returns that is done, and cancel the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # In the order in which they were given, where several are done.
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
