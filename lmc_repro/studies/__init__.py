"""Studies: params.yaml to cells to runs, and the steps prepare, train, compare, report over them."""
