"""Is what runs inside the VM, and the making of what it boots from."""
