"""The networks by their names."""
