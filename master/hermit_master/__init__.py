"""Who asks for builds and who hears of them: settings, hooks, the mode of a build, snapshot commits."""
