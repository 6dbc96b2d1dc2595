"""Bad inputs: how each is made, which command gets it, and what it says; ``docs/errors.md`` is made from them.

``make errors`` writes the document; ``tests/unit/test_bad_input.py`` compares it with what the commands say.
"""
