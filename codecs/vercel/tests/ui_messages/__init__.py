"""A package, so that pytest does not name its modules after the folder ``codecs``, which is Python's name."""
