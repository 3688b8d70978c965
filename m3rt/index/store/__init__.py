"""An index on disk: ids, arrays, segments and commits. Knows no query."""
