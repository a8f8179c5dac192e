"""Whether R and its packages are there to compare with."""

import shutil
import subprocess


def missing(*packages: str) -> str:
    """Why R cannot be used with these packages; empty if it can."""
    if shutil.which("Rscript") is None:
        return "Rscript is not installed"
    command = "; ".join(f"library({p})" for p in packages)
    found = subprocess.run(["Rscript", "-e", command], capture_output=True, check=False)
    return "" if found.returncode == 0 else f"R lacks {' or '.join(packages)}"
