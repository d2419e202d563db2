"""How much memory this process has taken."""

import sys


def peak_bytes() -> int:
    """The most memory that was resident so far; 0 where nobody knows.

    Linux also has it in `resource.getrusage`, but there a process starts with
    the peak of the one that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
