"""One self-contained HTML file about a fit: diagnosis first, then the model, its results, and what they rest on.

`material` computes everything once; every section of the report is a small function from that to the values of its template.
"""

from bayeshte.report.material import gather
from bayeshte.report.page import report, write

__all__ = ["gather", "report", "write"]
