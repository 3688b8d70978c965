"""The number of CPUs that this process may use; engines use the kernels' answer."""

from m3rt_kernels.cpus import available_cpus

__all__ = ["available_cpus"]
