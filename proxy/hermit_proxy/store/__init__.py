"""Content-addressed bodies and the observations that vouch for them: recordings fill it, replays read it."""
