#!/usr/bin/env bash
# Builds elyra/kernel-py alone, with its PEX file; options as those of build-support/build_images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
./pants package deploy/images:kernel-py
build-support/build_images "$@" kernel-py
