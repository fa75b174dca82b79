"""What notebooks and scripts import from `lmc_repro` itself (docs/api.md); no files but those that are asked for."""
