import sys

from dfkd_core.cli import main

sys.exit(main())
