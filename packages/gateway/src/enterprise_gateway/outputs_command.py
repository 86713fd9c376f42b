"""`jupyter enterprisegateway outputs`: writes what a kernel ran, with all outputs, as a notebook.

It asks a running gateway by its REST API and needs nothing but the standard library.
"""

import argparse
import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from enterprise_gateway_common.tokens import is_one_printable_word

__all__ = ["outputs"]

# Those of Jupyter's own clients of a gateway, and the gateway's own.
_URL = "JUPYTER_GATEWAY_URL"
_TOKENS = ("JUPYTER_GATEWAY_AUTH_TOKEN", "EG_AUTH_TOKEN")
_DEFAULT_URL = "http://127.0.0.1:8888"
_NOTEBOOK = "application/x-ipynb+json"
_FAILED = 1
_MOST_EXPLAINED = 64 * 1024

_DESCRIPTION = """
Write what a kernel ran, with all outputs, as a notebook to standard output: also what was run and printed while no client
was connected, or before a page was loaded again. A cell that still runs is written with its outputs so far.
"""
_EPILOG = f"""
The token is taken from --token-file, else from --token, which other users of this machine may see, else from the environment
variable {_TOKENS[0]} or {_TOKENS[1]}.

The gateway keeps the newest executions of each kernel (EG_EXECUTIONS_MAX_COUNT, EG_EXECUTIONS_MAX_BYTES) for as long as
its own process and the kernel live. What it doesn't keep any more is marked in the notebook.

examples:
  jupyter enterprisegateway outputs 0d4a5b3e-… > missed.ipynb
  jupyter enterprisegateway outputs 0d4a5b3e-… --url https://gateway.example.com --token-file ~/.gateway-token > missed.ipynb
  jupyter enterprisegateway outputs 0d4a5b3e-… --execution 6c1f… --json
"""


class _Failed(Exception):
    """There is no notebook; the text says why."""


def outputs(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Write the notebook that the arguments ask for, and return the process' exit status."""
    options = _parser(environment).parse_args(arguments)
    try:
        answer = _ask(options, _token(options, environment))
    except _Failed as error:
        sys.stderr.write(f"jupyter enterprisegateway outputs: {error}\n")
        return _FAILED
    if options.output is None:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    else:
        Path(options.output).write_bytes(answer)
    return 0


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jupyter enterprisegateway outputs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("kernel_id", metavar="KERNEL_ID", help="the kernel's UUID, as GET /api/kernels lists it")
    parser.add_argument(
        "--url",
        default=environment.get(_URL) or _DEFAULT_URL,
        help=f"URL of the gateway, with its base URL; environment: {_URL} (default: {_DEFAULT_URL})",
    )
    parser.add_argument("--token-file", metavar="FILE", help="file with the token; - reads standard input")
    parser.add_argument("--token", help="the token itself")
    parser.add_argument("--execution", metavar="MSG_ID", help="write only the execution with this id")
    parser.add_argument("--json", action="store_true", help="write the API's JSON instead of a notebook")
    parser.add_argument("--output", metavar="FILE", help="write to a file instead of standard output")
    parser.add_argument("--ca-file", metavar="FILE", help="certificates of authorities that the gateway's is checked against")
    parser.add_argument("--client-cert", metavar="FILE", help="client certificate with its key, where the gateway wants one")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds that the gateway may be silent (default: 60)")
    return parser


def _token(options: argparse.Namespace, environment: Mapping[str, str]) -> str:
    given = options.token or next((environment[name] for name in _TOKENS if environment.get(name)), "")
    token = (given if options.token_file is None else _from_file(options.token_file)).strip()
    if token and not is_one_printable_word(token):
        raise _Failed("The token has a character that no header can carry.")
    return token


def _from_file(name: str) -> str:
    try:
        return sys.stdin.readline() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _Failed(f"--token-file: {name} can't be read: {getattr(error, 'strerror', error)}.") from error


def _ask(options: argparse.Namespace, token: str) -> bytes:
    url = urllib.parse.urlsplit(options.url)
    if url.scheme not in {"http", "https"} or not url.netloc:
        raise _Failed(f"--url: {options.url} isn't the URL of a gateway; it begins with http:// or https://.")
    path = f"{url.path.rstrip('/')}/api/kernels/{_quoted(options.kernel_id)}/executions"
    if options.execution is not None:
        path += f"/{_quoted(options.execution)}"
    # A token in the URL itself would end up in logs.
    headers = {"Accept": "application/json" if options.json else _NOTEBOOK}
    if token:
        headers["Authorization"] = f"token {token}"
    request = urllib.request.Request(urllib.parse.urlunsplit((url.scheme, url.netloc, path, "", "")), headers=headers)  # noqa: S310  its scheme was checked
    where = f"{url.scheme}://{url.hostname}"
    try:
        with _opener(options).open(request, timeout=options.timeout) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise _Failed(_refusal(error, where)) from error
    except (OSError, ValueError) as error:
        raise _Failed(f"The gateway at {where} can't be reached: {getattr(error, 'reason', error)}.") from error


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for the error that it is here: the token must not go to another place."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener(options: argparse.Namespace) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.client_cert is not None:
            context.load_cert_chain(options.client_cert)
    except OSError as error:
        raise _Failed(f"A certificate file can't be used: {error.strerror or error}.") from error
    return urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))


def _refusal(error: urllib.error.HTTPError, where: str) -> str:
    """Return what a gateway says of a refused request, or what can be said of one that isn't a gateway's."""
    with error:
        body = error.read(_MOST_EXPLAINED)
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{error.reason}; is there a gateway?"
    if error.code == HTTPStatus.UNAUTHORIZED:
        message += f" Give it by --token-file or {_TOKENS[0]}."
    return f"{where} answered {error.code}: {message}"
