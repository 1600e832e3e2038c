# The first process of a site: `site-init.sh FOLDER NODE_ROOT`. Everything of the site lives in its PID namespace.
set -e
mount --make-rprivate /
# For files of what runs outside of the cluster.
mount -t tmpfs tmpfs /mnt
# Addresses outside of the cluster, which its pods may or may not reach: that of the bridge that the nodes are on, which
# is the database's; a public one (TEST-NET-3); a cloud's metadata service's.
ip link set lo up
ip link add fabric type bridge
ip addr add 10.200.0.1/24 dev fabric
ip link set fabric up
ip addr add 203.0.113.10/32 dev lo
ip addr add 169.254.169.254/32 dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward
touch "$1/site-ready"
# As a process of its own kind: it reaps whatever is left to it.
exec "$2/usr/bin/catatonit" -P
