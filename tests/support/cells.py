"""Code that tests have kernels run."""

__all__ = ["WAITS_FOR_AN_INTERRUPT"]

WAITS_FOR_AN_INTERRUPT = """
print('sleeping', flush=True)
import time
while True: time.sleep(0.02)
"""
"""In short sleeps: Python begins to sleep without a look at a signal that came just before, and sleeps all of its time then."""
