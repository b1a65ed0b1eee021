"""Is the VM cell: one build in a virtual machine of its own, with two sockets on its wire."""
