# The first process of a node: `node-init.sh NAME FOLDER NODE_ROOT BINARIES`, in mount, PID, network, UTS and IPC
# namespaces of its own. FOLDER is the node's own; NODE_ROOT is shared and stays as it is.
set -e
hostname "$1"
mount --make-rprivate /
cd "$2"
mkdir -p upper work root containerd
mount -t overlay overlay -o "lowerdir=$3,upperdir=upper,workdir=work" root
cd root
mkdir -p proc sys dev run node kubernetes var/lib/containerd old
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount --bind "$2" node
mount --bind "$4" kubernetes
# No overlay as the upper side of an overlay: containerd makes its own.
mount --bind "$2/containerd" var/lib/containerd
pivot_root . old
umount -l /old
# Volumes that the kubelet mounts must show in containers.
mount --make-rshared /
mkdir -p /run/netns /run/lock
echo '127.0.0.1 localhost' > /etc/hosts
ip link set lo up
for switch in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables net/ipv4/conf/all/route_localnet; do
  echo 1 > "/proc/sys/$switch"
done
touch /node/ready
exec /usr/bin/catatonit -P
