"""Shared pytest set-up: fits too short to converge are what many tests want."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
