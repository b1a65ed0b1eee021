"""Secrets that the proxy adds on the way out, and finds again in what comes back."""
