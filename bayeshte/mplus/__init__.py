"""Mplus inputs: read, checked, translated, run, and printed as Mplus users know it.

`read` makes an `Analysis` of an input: an ordinary specification, the data, and notes on what was ignored or decided. `program`
writes the Python that does the same, `write` the tables of a fit in Mplus's words.
"""

from bayeshte.mplus.basic import statistics
from bayeshte.mplus.command import OUTPUTS, parameters, write
from bayeshte.mplus.output import tables
from bayeshte.mplus.printout import printout
from bayeshte.mplus.python import program
from bayeshte.mplus.read import Analysis, read

__all__ = ["OUTPUTS", "Analysis", "parameters", "printout", "program", "read", "statistics", "tables", "write"]
