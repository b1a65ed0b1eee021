"""The sandbox cell: a throw-away Debian tree in namespaces of its own, for one build."""
