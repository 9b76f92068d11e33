#!/bin/sh
# Builds the agent of one version of Ruby and one C library, in its own image.
set -eu
version=$1
libc=$2
folder=/instrumentations/ruby/$version
mkdir -p "$folder/bundle/$libc"
cp /build/index.rb "$folder/"
BUNDLE_GEMFILE=/build/Gemfile BUNDLE_PATH=$folder/bundle/$libc bundle install --quiet
chmod -R a+rX "$folder"
