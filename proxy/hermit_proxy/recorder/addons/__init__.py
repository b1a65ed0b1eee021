"""One concern of the recorder in each module; the order in which they stand in `service` is the order of decisions."""
