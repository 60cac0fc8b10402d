"""Families of questions with their graders."""
