"""params.yaml: schemas, data sets, and studies resolved to cells and runs; the paper's reported numbers."""
