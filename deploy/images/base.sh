#!/usr/bin/env bash
# Base images by digest, so that a release is built from what was reviewed, whatever their tags point to that day:
#   deploy/images/base.sh check    fails and lists the base images of every Dockerfile here that have no digest
#   deploy/images/base.sh pin      asks the registries for the digests of their tags and writes them: IMAGE:TAG@sha256:…
# Digests are those of the index, which has all architectures. Pinned ones are asked for again: a digest follows its tag. `scratch`
# and stages of the same file have none. Needs Docker with buildx for `pin`. ODIGOS_DOCKERFILES: another folder than this one.
set -euo pipefail
fail() { echo "base.sh: $1" >&2; exit 1; }
folder=${ODIGOS_DOCKERFILES:-$(dirname "$0")}

# Lines FILE:IMAGE of everything that is fetched: by FROM, and by COPY --from that names no stage.
references() {
  find "$folder" -name Dockerfile | sort | while read -r file; do
    awk -v file="$file" '
      toupper($1) == "FROM" {
        at = 2
        while ($at ~ /^--/) at++
        image = $at
        if (toupper($(at + 1)) == "AS") stages[$(at + 2)] = 1
        # A stage that an argument chooses is one of the same file.
        if (image != "scratch" && !(image in stages) && image !~ /\$/) print file "\t" image
      }
      toupper($1) == "COPY" {
        for (at = 2; $at ~ /^--/; at++) {
          if ($at !~ /^--from=/) continue
          image = substr($at, 8)
          if (!(image in stages) && image !~ /\$/ && image !~ /^[0-9]+$/) print file "\t" image
        }
      }' "$file"
  done
}

check() {
  local open
  open=$(references | grep -vE '@sha256:[0-9a-f]{64}$' || true)
  [ -z "$open" ] || fail "no digest: run deploy/images/base.sh pin, look at the change and commit it
$open"
}

pin() {
  local file image tag digest
  while IFS=$'\t' read -r file image; do
    tag=${image%@*}
    digest=$(docker buildx imagetools inspect "$tag" --format '{{.Manifest.Digest}}') || fail "failed to ask for $tag"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "the digest of $tag is \"$digest\""
    # The name ends at a blank or at the end of the line: ruby:3.1 is not the beginning of ruby:3.1-alpine.
    sed -Ei "/^(FROM|COPY) /s#([ =])${tag//./\\.}(@sha256:[0-9a-f]{64})?( |\$)#\\1$tag@$digest\\3#" "$file"
  done < <(references | sort -u)
  check
}

case ${1:-} in
  check) check ;;
  pin) pin ;;
  *) fail "usage: base.sh check|pin" ;;
esac
