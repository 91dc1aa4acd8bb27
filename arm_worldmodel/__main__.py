"""``python -m arm_worldmodel`` is ``worldmodel``."""

import sys

from arm_worldmodel.cli import main

if __name__ == "__main__":
    sys.exit(main())
