"""Takes out of jars what is compiled for other machines than this image is for, and signatures: slim_jars.py FOLDER.

The jars were compared with their hashes when they were fetched. Classes of a signed one can't be kept for later sessions, and each
JVM would check the signature again.
"""

import os
import re
import sys
import zipfile
from pathlib import Path

_COMPILED = re.compile(r"\.(so|dll|dylib|jnilib|a)$")
_OURS = re.compile(r"linux64|linux.*(x86_64|amd64)", re.IGNORECASE)
_SIGNATURE = re.compile(r"^META-INF/[^/]+\.(SF|DSA|RSA|EC)$")
# Of one time, in whole seconds: what is kept of their classes tells by it that they are the same.
_TIME = 1_700_000_000


def main(folder: Path) -> None:
    """Write each jar anew that has less to hold."""
    for jar in sorted(folder.glob("*.jar")):
        with zipfile.ZipFile(jar) as source:
            kept = [entry for entry in source.infolist() if not _is_foreign(entry.filename) and not _SIGNATURE.match(entry.filename)]
            if len(kept) < len(source.infolist()):
                slim = jar.with_suffix(".slim")
                with zipfile.ZipFile(slim, "w") as target:
                    for entry in kept:
                        target.writestr(entry, source.read(entry), entry.compress_type)
                slim.replace(jar)
        os.utime(jar, (_TIME, _TIME))


def _is_foreign(name: str) -> bool:
    return bool(_COMPILED.search(name)) and (not _OURS.search(name) or "musl" in name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
