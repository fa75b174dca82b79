"""The largest values that params.yaml and options take: far beyond any sensible use, below what no machine holds."""

STUDIES = 100
"""Of one params.yaml; as many profiles and exhibits."""
CELLS = 1_000
RUNS = 10_000
"""Of one study; as many pairs. They are resolved, and checked, in a second or two."""
CHECKPOINTS = 200_000
"""Of one study: its runs, times their evaluation epochs."""
REPLICAS = 100
EPOCHS = 1_000_000
EVALUATION_EPOCHS = 2_000
BATCH = 2**24
POINTS = 10_001
PLANE_POINTS = 201
"""Per side of a plane: forty thousand networks."""
SIZE = 2**20
"""Of any dimension of a network; the paper's largest is 8192."""
NUMBERS = 2 * 10**9
"""In float32, that training one network holds: four per weight (the weight, its gradient and ADAM's two); 8 GB."""
RATE = 1e6
"""Of learning rates and their divisors, weight decay, clipping and epsilon."""
JOBS = 1_024
MINUTES = 10_080
"""Of waiting: a week."""
NAME = 60
"""Letters of a key: two of them, and more, are in the names of files."""
LINE = 1_000
