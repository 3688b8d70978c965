"""The machine, the process and its files: CPUs, threads, forks, cache, and what libraries may report."""
