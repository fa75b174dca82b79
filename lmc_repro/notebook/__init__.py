"""Training, measuring and plotting in a notebook; barriers of one's own weights."""
