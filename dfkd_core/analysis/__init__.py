"""Looking at runs: what the pages and the command line show. May import the store, benchmarks and networks."""
