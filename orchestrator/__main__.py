"""`python -m orchestrator`, the same as the `latentswarm` command."""

import sys

from orchestrator.cli import main

sys.exit(main())
