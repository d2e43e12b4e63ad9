"""`python -m planner`: the entry to the command line, which lives in `cli`."""

import sys

from cli import main

sys.exit(main())
