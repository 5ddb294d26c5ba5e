import sys

from dfkd_core.cli.main import main

sys.exit(main())
