"""What a client asks for: one spelling, one key."""
