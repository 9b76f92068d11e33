"""Found only when the user's own PYTHONPATH is in force."""

OPTION = "kept"
