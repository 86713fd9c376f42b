"""`python -m kernel_image_puller`."""

import sys

from kernel_image_puller.cli import main

sys.exit(main())
