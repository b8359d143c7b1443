"""The command line: one module per command, thin, with no logic of its own."""
