"""Write ``docs/errors.md``: ``python -m bad_input`` in the folder ``tests``."""

from __future__ import annotations

from bad_input.document import DOCUMENT, document

DOCUMENT.write_text(document(), encoding="utf-8")
