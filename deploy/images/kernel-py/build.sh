#!/usr/bin/env bash
# Builds elyra/kernel-py: installs what the kernel needs beside a copy of the Dockerfile, with the pip of PYTHON, which
# must be of the base image's Python version, and lets `docker build` only copy it.
#
#   TAG=dev BASE_IMAGE=python:3.11-slim-bookworm PYTHON=.venv/bin/python deploy/images/kernel-py/build.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

readonly image=${IMAGE:-elyra/kernel-py:${TAG:-dev}}
context=$(mktemp -d)
readonly context
trap 'rm -rf "$context"' EXIT

cp deploy/images/kernel-py/{Dockerfile,launch-kernel} "$context"
"${PYTHON:-.venv/bin/python}" -m pip install --quiet --disable-pip-version-check --target "$context/site" \
  --constraint <(grep -oE '^[a-zA-Z0-9_.-]+==[^ ]+' 3rdparty/constraints.txt) ipykernel cryptography
for package in common kernel-launchers; do
  cp -R "packages/$package/src/." "$context/site"
done
find "$context/site" -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +
docker build --quiet ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} --tag "$image" "$context"
