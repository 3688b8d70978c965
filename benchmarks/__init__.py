"""Each script is run as a module, from the repository's root: python -m benchmarks.encoder.peers.

-m puts the root first on sys.path, and it is taken off here, before a script imports anything. A benchmark has to
measure the m3rt that is installed, and Hugging Face's libraries would take the root's folder kernels/ for their
package of that name. The scripts find each other by relative imports, for which the root is not needed.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != _ROOT]
