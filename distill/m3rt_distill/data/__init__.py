"""The data: texts from files, the vocabulary, the teacher's vectors, and the lessons that a student learns from."""
