#!/bin/sh
# node-trust: keeps a registry's hosts.toml and ca.crt in a directory of containerd,
# which reads them at each pull.
#
# Environment:
#   REGISTRY_NAME  the registry as in image names, as in registry.example:5000
#   FROM           the directory that has hosts.toml and, for a private CA, ca.crt
#   TO             containerd's directory (config_path)
#   INTERVAL       seconds between two looks; 0: once
set -eu
umask 022

# put FILE: the file on the node is the old one or the new one, never a part of one.
put() {
    cmp -s "$FROM/$1" "$directory/$1" && return 0
    cp "$FROM/$1" "$directory/.$1.new"
    mv "$directory/.$1.new" "$directory/$1"
    echo "wrote $directory/$1"
}

directory=$TO/$REGISTRY_NAME
# The first process of a container gets no signal that it does not ask for.
trap 'exit 0' TERM INT
while :; do
    mkdir -p "$directory"
    # hosts.toml names ca.crt, so it is the last.
    [ ! -f "$FROM/ca.crt" ] || put ca.crt
    put hosts.toml
    [ "$INTERVAL" -gt 0 ] || exit 0
    sleep "$INTERVAL" &
    wait $!
done
