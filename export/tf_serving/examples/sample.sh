#!/bin/sh
# Two images drawn from the prior, as JSON: the same seeds give the same images.
#     sh sample.sh http://localhost:8501 conv_vae [LABEL]
set -eu
label=${3:+", \"label\": [$3, $3]"}
curl --fail-with-body --silent --show-error "$1/v1/models/$2:predict" \
    --data "{\"signature_name\": \"sample\", \"inputs\": {\"seed\": [[7, 1], [7, 2]]$label}}"
