"""Whether a Scala cell wants the kernel's Spark session."""

import re

__all__ = ["wants_session"]

# Comments and literals; not those into which something is interpolated.
_UNREAD = re.compile(r'//[^\n]*|/\*.*?\*/|(?<![\w$])""".*?"""|(?<![\w$])"(?:\\.|[^"\\\n])*"', re.DOTALL)
# A name of Spark's, or what the session brings into scope without one: `$"column"`, `.toDF`.
_USE = re.compile(r'(?<![\w.`])(?:spark|sc|sql|sqlContext)(?![\w`])|\.to(?:DF|DS)\b|(?<!\w)\$"')
_OWN = re.compile(r"\b(?:va[lr]|def|object)\s+(?:spark|sc|sql|sqlContext)\b")


def wants_session(code: str) -> bool:
    """Tell whether a cell uses one of Spark's names before it binds one itself."""
    plain = _UNREAD.sub(" ", code)
    used, own = _USE.search(plain), _OWN.search(plain)
    return used is not None and (own is None or used.start() < own.start())
