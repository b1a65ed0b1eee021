"""What a build asked of the network and the digest of what it was answered: the record in the repository."""
