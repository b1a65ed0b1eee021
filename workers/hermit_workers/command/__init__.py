"""How `hermit run` has one command among the user's own files, with the proxy as its only wire."""
