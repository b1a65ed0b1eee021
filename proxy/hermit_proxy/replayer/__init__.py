"""Replays what was recorded and refuses the rest, without any code that could reach upstream."""
