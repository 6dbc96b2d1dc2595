"""Bad inputs with the commands that must refuse them, from which ``docs/errors.md`` is generated.

``make errors`` writes the document, and ``tests/unit/test_bad_input.py`` compares it with the messages of the commands.
"""
