"""How many CPUs this process may use: the kernels' answer, for the engines too."""

from m3rt_kernels.cpus import available_cpus

__all__ = ["available_cpus"]
