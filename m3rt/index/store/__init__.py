"""An index on disk: ids, arrays, segments and commits. Knows no text, no model and no option of a search."""
