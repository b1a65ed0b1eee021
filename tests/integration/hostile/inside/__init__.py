"""Is what runs inside of a cell, and for comparison outside of it; it needs nothing but the standard library."""
