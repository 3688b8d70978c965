"""What m3rt says on stderr, without what the engines' libraries say of a processor that they do not know."""

import re

_ABOUT_PROCESSORS = re.compile(
    r"onnxruntime (cpuid_info )?warning: .*(CPU vendor|cpuinfo).*\n"  # an ARM core of a maker that is new to it
    r"|(Error|Warning) in cpuinfo: .*\n"  # the same library where /sys lacks what it reads
    r"|\S*xbyak_aarch64\S*, \d+: Can't open MIDR_EL1 sysfs entry\n"  # OpenVINO, where /sys does not name the ARM core
)


def own_lines(stderr: str) -> str:
    """`stderr` without those lines; whatever else an engine says stays, since m3rt would have to keep it quiet."""
    return _ABOUT_PROCESSORS.sub("", stderr)
