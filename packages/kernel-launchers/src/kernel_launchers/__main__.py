"""`python -m kernel_launchers` is `launch-kernel`, for images whose scripts aren't on the PATH."""

import sys

from kernel_launchers.cli import main

sys.exit(main())
