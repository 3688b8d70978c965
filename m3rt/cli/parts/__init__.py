"""What several commands share; no command itself."""
