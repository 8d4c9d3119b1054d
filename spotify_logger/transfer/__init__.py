"""Import, export, delete and verify plays."""
