"""The student: its model, its checkpoint files, and the two formulas that its views are held to."""
