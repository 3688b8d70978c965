"""The machine, the process and its files: CPUs, forks, durable files, cache, telemetry. This room knows no model."""
