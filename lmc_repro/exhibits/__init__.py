"""The tables and figures of the paper that need no training of their own: counted, drawn, or read from results."""
