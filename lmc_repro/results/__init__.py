"""Results of a study: runs.json, cells.json and curves.csv, and the cache of measured pairs."""
