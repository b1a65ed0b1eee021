"""How files leave a stopped cell: which are meant, opened where their users can read them, received as descriptors."""
