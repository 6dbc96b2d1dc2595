"""``python -m mmsrl.engine ARGUMENTS…`` is ``nextflow ARGUMENTS…``."""

from __future__ import annotations

import sys

from mmsrl._errors import MmsrlError
from mmsrl.engine.launch import main

try:
    main(sys.argv[1:])
except MmsrlError as error:
    sys.exit(f"engine: error: {error}")
