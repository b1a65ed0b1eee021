"""What keeps a build from using up the machine, from outside of its cell."""
