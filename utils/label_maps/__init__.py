"""Label maps: from regions or masks to a store that is made again when its source changes."""
