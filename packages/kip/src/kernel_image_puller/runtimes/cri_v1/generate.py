"""Writes the Python of `api.proto`: `python -m kernel_image_puller.runtimes.cri_v1.generate`.

Needs `grpcio-tools` and `mypy-protobuf`, which are development tools; nothing at run time imports this module.
"""

import sys
from pathlib import Path

__all__ = ["GENERATED", "generate"]

GENERATED = ("api_pb2.py", "api_pb2.pyi", "api_pb2_grpc.py", "api_pb2_grpc.pyi")
_FOLDER = Path(__file__).resolve().parent
_SOURCE_ROOT = _FOLDER.parents[2]


def generate(destination: Path) -> None:
    """Write the generated files below `destination`, at their places in the package.

    Raises
    ------
    RuntimeError
        The compiler refused; it has said why on standard error.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]  # a development tool without type hints

    outputs = [f"--{kind}_out={destination}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    proto = _FOLDER / "api.proto"
    if protoc.main(["protoc", f"--proto_path={_SOURCE_ROOT}", *outputs, str(proto)]) != 0:
        raise RuntimeError(f"{proto.name} could not be compiled")


if __name__ == "__main__":
    generate(_SOURCE_ROOT)
    sys.stdout.write("\n".join(GENERATED) + "\n")
