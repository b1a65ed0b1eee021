"""The sandbox cell: a throw-away Debian tree in namespaces of its own, for one build."""

# Begin with cell.py; everything else is there for it.
#   namespaces/  holder.py commands the process that inside.py is: it owns the cell's namespaces. launch.py, kernel.py
#                and mounts.py are that process's hands; mapped.py and enter.py make one for a single program; idmap.py
#                says which users of the host a cell's users are
#   limits/      guard.py puts together what keeps them: rlimits.py, cgroups.py (with groupfiles.py), watch.py (with
#                gauges.py and openfiles.py) and disk.py
#   artifacts/   patterns.py and matching.py say which; taking.py opens them with walk.py; giving.py, in the holder,
#                sends them to receiving.py
#   bwrap.py says how bubblewrap is called, steps.py calls it; doctor.py tries all of it on this machine
