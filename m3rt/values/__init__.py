"""Values that callers and files hand in: checked where they come in, shown in one line where they are wrong."""
