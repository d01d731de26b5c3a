"""The command line: `main` parses, `attach` opens the UI, `doctor` looks for what is wrong."""
