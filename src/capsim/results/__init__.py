"""What a run says: its tables, figures and documents, and how two of them compare."""
