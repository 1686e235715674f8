"""The container's entry point."""

import sys

from citylearn_job.main import main

if __name__ == "__main__":
    sys.exit(main())
