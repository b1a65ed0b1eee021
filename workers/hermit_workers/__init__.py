"""Where a build runs: a cell whose only wire is the listening socket that it handed out."""
