"""The servers that the scenarios run on: the local server, engines of other projects, any endpoint."""
