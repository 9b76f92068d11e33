#!/usr/bin/env bash
# Writes the digests of images into a chart and into manifests, so that exactly these run:
#   deploy/images/pin.sh DIGESTS CHART MANIFESTS VALUES
# DIGESTS is a folder with a file for each image, named after it, that holds sha256:…; the repositories are those of the chart's
# own image.prefix. Every image that the chart starts must be there. The command line's image is in no chart. The chart inside the
# command was built before there were digests: VALUES is written for it, a file for `odigos install --values`.
set -euo pipefail
digests=$1 chart=$2 manifests=$3 values=$4
fail() { echo "pin.sh: $1" >&2; exit 1; }
prefix=$(sed -n 's/^  prefix: //p' "$chart/values.yaml")
version=$(sed -n 's/^appVersion: //p' "$chart/Chart.yaml")
[ -n "$prefix" ] && [ -n "$version" ] || fail "$chart has no image.prefix or no appVersion"
{ echo "# Images of odigos $version by digest: odigos install --values FILE, and the same for odigos upgrade."; echo "images:"; } > "$values"
# Key of the value, name of the image.
for row in instrumentor:odigos-instrumentor scheduler:odigos-scheduler autoscaler:odigos-autoscaler agent:odigos-agent \
  gateway:odigos-gateway nodeCollector:odigos-node-collector; do
  key=${row%%:*} image=${row#*:}
  [ -f "$digests/$image" ] || fail "there is no digest of $image"
  digest=$(cat "$digests/$image")
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "the digest of $image is \"$digest\""
  grep -qx "  $key: \"\"" "$chart/values.yaml" || fail "$chart/values.yaml has no empty value images.$key"
  sed -i "s#^  $key: \"\"\$#  $key: $prefix/$image@$digest#" "$chart/values.yaml"
  echo "  $key: $prefix/$image@$digest" >> "$values"
  grep -q "$prefix/$image:$version" "$manifests" || fail "$manifests starts no $image:$version"
  sed -i "s#$prefix/$image:$version\\b#$prefix/$image@$digest#" "$manifests"
done
if grep -n "$prefix/odigos-[a-z-]*:" "$manifests"; then fail "$manifests names an image by its tag"; fi
