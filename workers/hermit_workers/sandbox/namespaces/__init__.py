"""The process that holds a cell's namespaces, how it is told what to do, and which ids are mapped in them."""
