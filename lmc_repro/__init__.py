"""lmc_repro: are two trained networks linearly connected? (arXiv 2312.09832, re-makeable bit for bit)"""

__version__ = "0.1.0"
