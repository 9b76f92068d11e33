#!/usr/bin/env bash
# A Kubernetes cluster with real nodes on one Linux machine, without Docker, virtual machines or a registry.
# A node is a set of namespaces (network, processes, mounts) with a containerd, a kubelet and a kube-proxy of its own; the
# control plane has a network namespace. None of them has a route off the machine.
#
#   cluster.sh up [NODES]      start (2 nodes unless told otherwise) and wait until they are Ready
#   cluster.sh down            end everything and remove namespaces, mounts, cgroups and files
#   cluster.sh load FILE.tar   import an image (OCI or Docker archive) on every node
#   cluster.sh images DIR FILE.tar...   import images into DIR once; nodes that come up with IMAGES=DIR begin with them
#   cluster.sh kubectl ARGS    kubectl as administrator, inside the control plane's network
#   cluster.sh exec CMD ARGS   any program in the control plane's network, with KUBECONFIG set
#   cluster.sh node-stop I     power off node I; node-start I boots it again, with its disk as it was
#   cluster.sh api-stop        end the API server; api-start starts it again
#   cluster.sh policies-start  enforce NetworkPolicies (policies.py) until policies-stop
#
# BIN: directory with kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl etcd coredns
# RUN: directory of the cluster's state, $TMPDIR/odigos-cluster unless set
# IMAGES: directory of images, in the same file system as RUN; it may go when the nodes are up
# CLUSTER: what its namespaces and cgroups are called by, odg unless set; a second cluster beside it needs a name and a RUN of its own
# Needs root and Debian's containerd runc containernetworking-plugins iptables iproute2 conntrack openssl gcc.
# Addresses: control plane 10.77.0.1, node i 10.77.0.10+i, pods 10.78.i.0/24, services 10.79.0.0/16, DNS 10.79.0.10
set -euo pipefail
BIN=${BIN:?directory with the Kubernetes binaries}
RUN=${RUN:-${TMPDIR:-/tmp}/odigos-cluster}
CLUSTER=${CLUSTER:-odg}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export BIN RUN CLUSTER
CP="nsenter --net=/run/netns/$CLUSTER-cp"
CTR_NS=k8s.io

[ "$(id -u)" = 0 ] || { echo "a cluster of namespaces needs root" >&2; exit 1; }
for command in containerd:containerd runc:runc iptables:iptables ip:iproute2 conntrack:conntrack openssl:openssl gcc:gcc nsenter:util-linux; do
  command -v "${command%%:*}" >/dev/null || { echo "${command%%:*} is missing: apt-get install ${command##*:}" >&2; exit 1; }
done
[ -x /usr/lib/cni/bridge ] || { echo "/usr/lib/cni/bridge is missing: apt-get install containernetworking-plugins" >&2; exit 1; }

nodes() { for dir in "$RUN"/node*/; do basename "$dir" | sed 's/node//'; done; }
start() { local name=$1; shift; setsid nohup "$@" >"$RUN/log/$name.log" 2>&1 </dev/null & echo $! >"$RUN/$name.pid"; }
kubectl() { $CP env KUBECONFIG="$RUN/admin.kubeconfig" "$BIN/kubectl" "$@"; }
wait_for() { local what=$1 seconds=$2; shift 2; for _ in $(seq $((seconds * 2))); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done; echo "timed out: $what (logs in $RUN/log and $RUN/node*/log)" >&2; exit 1; }

network() {
  local n=$1
  ip netns add "$CLUSTER-cp"; ip -n "$CLUSTER-cp" link set lo up
  ip -n "$CLUSTER-cp" link add br0 type bridge; ip -n "$CLUSTER-cp" addr add 10.77.0.1/24 dev br0; ip -n "$CLUSTER-cp" link set br0 up
  $CP sysctl -qw net.ipv4.ip_forward=1
  for i in $(seq "$n"); do
    ip netns add "$CLUSTER-n$i"; ip -n "$CLUSTER-n$i" link set lo up
    ip -n "$CLUSTER-cp" link add "v$i" type veth peer name eth0 netns "$CLUSTER-n$i"; ip -n "$CLUSTER-cp" link set "v$i" master br0 up
    ip -n "$CLUSTER-n$i" addr add "10.77.0.1$i/24" dev eth0; ip -n "$CLUSTER-n$i" link set eth0 up
    ip -n "$CLUSTER-n$i" route add default via 10.77.0.1
    nsenter --net="/run/netns/$CLUSTER-n$i" sysctl -qw net.ipv4.ip_forward=1
    ip -n "$CLUSTER-cp" route add "10.78.$i.0/24" via "10.77.0.1$i"
  done
  for i in $(seq "$n"); do for j in $(seq "$n"); do
    [ "$i" = "$j" ] || ip -n "$CLUSTER-n$i" route add "10.78.$j.0/24" via "10.77.0.1$j"
  done; done
}

certificates() {
  local n=$1; cd "$RUN/pki"
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=cluster-ca 2>/dev/null
  leaf() {
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 -extfile <(printf 'subjectAltName=%s' "$3") 2>/dev/null
  }
  leaf api /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.77.0.1,IP:10.79.0.1"
  leaf admin /O=system:masters/CN=admin DNS:admin
  leaf controllers /CN=system:kube-controller-manager DNS:controllers
  leaf scheduler /CN=system:kube-scheduler DNS:scheduler
  leaf proxy /CN=system:kube-proxy DNS:proxy
  for i in $(seq "$n"); do leaf "n$i" "/O=system:nodes/CN=system:node:n$i" "DNS:n$i,IP:10.77.0.1$i"; done
  cd "$RUN"
  for user in admin controllers scheduler proxy $(seq -f 'n%g' "$n"); do
    cat >"$RUN/$user.kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://10.77.0.1:6443", certificate-authority: $RUN/pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $RUN/pki/$user.crt, client-key: $RUN/pki/$user.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
EOF
  done
}

api_server() {
  cd "$RUN"
  # Who asked for what; the stories count it.
  printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n' >audit.yaml
  start apiserver $CP "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --advertise-address=10.77.0.1 --secure-port=6443 \
    --tls-cert-file=pki/api.crt --tls-private-key-file=pki/api.key --client-ca-file=pki/ca.crt \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-cluster-ip-range=10.79.0.0/16 --authorization-mode=Node,RBAC --allow-privileged=true --enable-admission-plugins=NodeRestriction \
    --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key \
    --requestheader-client-ca-file=pki/ca.crt --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --proxy-client-cert-file=pki/admin.crt --proxy-client-key-file=pki/admin.key --enable-aggregator-routing=true \
    --audit-policy-file=audit.yaml --audit-log-path="$RUN/log/audit.log" --audit-log-mode=batch
}

control_plane() {
  cd "$RUN"
  start etcd $CP "$BIN/etcd" --data-dir "$RUN/etcd" --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
  api_server
  wait_for "API server" 120 kubectl get --raw /readyz
  start controllers $CP "$BIN/kube-controller-manager" --kubeconfig=controllers.kubeconfig --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt \
    --use-service-account-credentials --leader-elect=false --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key --allocate-node-cidrs=false
  start scheduler $CP "$BIN/kube-scheduler" --kubeconfig=scheduler.kubeconfig --leader-elect=false
  kubectl create clusterrolebinding kube-proxy --clusterrole=system:node-proxier --user=system:kube-proxy >/dev/null
  # CoreDNS runs beside the control plane; a Service with a hand-made EndpointSlice gives pods 10.79.0.10
  cat >Corefile <<EOF
.:1053 {
  ready 127.0.0.1:8181
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $RUN/admin.kubeconfig
  }
  cache 5
}
EOF
  start coredns $CP "$BIN/coredns" -conf "$RUN/Corefile"
  kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.79.0.10, ports: [{name: dns, port: 53, targetPort: 1053, protocol: UDP}, {name: dns-tcp, port: 53, targetPort: 1053, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [10.77.0.1], conditions: {ready: true}}]
ports: [{name: dns, port: 1053, protocol: UDP}, {name: dns-tcp, port: 1053, protocol: TCP}]
EOF
}

pause_image() { # docker-archive of a static pause program; the sandbox image of every pod
  cat >"$RUN/pause.c" <<'EOF'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int s) { (void)s; _exit(0); }
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) { signal(SIGINT, stop); signal(SIGTERM, stop); signal(SIGCHLD, reap); for (;;) pause(); }
EOF
  mkdir -p "$RUN/pause"; gcc -O2 -static -o "$RUN/pause/pause" "$RUN/pause.c"
  (cd "$RUN/pause"
    tar --mtime=@0 -cf layer.tar pause; local diff config; diff=$(sha256sum layer.tar | cut -d' ' -f1)
    printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$diff" >config.json
    printf '[{"Config":"config.json","RepoTags":["local/pause:1"],"Layers":["layer.tar"]}]' >manifest.json
    tar -cf "$RUN/pause.tar" manifest.json config.json layer.tar)
}

node() {
  local i=$1 N=$RUN/node$1; mkdir -p "$N"/{cni,containerd,state,kubelet,log}
  cat >"$N/cni/10-pods.conflist" <<EOF
{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,
"ipam":{"type":"host-local","dataDir":"$N/ipam","ranges":[[{"subnet":"10.78.$i.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}
EOF
  # What was unpacked is only read, so nodes share its files; each has databases of its own. A node that boots again has its images.
  if [ -n "${IMAGES:-}" ] && [ -z "$(ls "$N/containerd")" ]; then
    cp -al "$IMAGES/containerd/." "$N/containerd/"
    find "$N/containerd" -name '*.db' | while read -r database; do cp "$database" "$database.own"; mv -f "$database.own" "$database"; done
  fi
  cat >"$N/containerd.toml" <<EOF
version = 2
root = "$N/containerd"
state = "$N/state"
[grpc]
  address = "$N/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/local/pause:1"
  restrict_oom_score_adj = true   # machines without CAP_SYS_RESOURCE cannot lower oom_score_adj
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$N/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."10.77.0.1:5000"]
    endpoint = ["http://10.77.0.1:5000"]
EOF
  cat >"$N/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: $RUN/pki/ca.crt}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook}
tlsCertFile: $RUN/pki/n$i.crt
tlsPrivateKeyFile: $RUN/pki/n$i.key
cgroupDriver: cgroupfs
cgroupRoot: /$CLUSTER-node$i
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
clusterDNS: ["10.79.0.10"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$N/containerd.sock
resolvConf: $N/resolv.conf
podCIDR: 10.78.$i.0/24
podLogsDir: /var/log/pods
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
EOF
  cat >"$N/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
clusterCIDR: 10.78.0.0/16
mode: iptables
hostnameOverride: n$i
conntrack: {maxPerCore: 0}
EOF
  echo "nameserver 127.0.0.1" >"$N/resolv.conf"
  for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller/$CLUSTER-node$i" 2>/dev/null || true; done
  if [ -d /sys/fs/cgroup/cpuset ]; then # cgroup v1: a new cpuset starts empty
    cat /sys/fs/cgroup/cpuset/cpuset.cpus >"/sys/fs/cgroup/cpuset/$CLUSTER-node$i/cpuset.cpus"; cat /sys/fs/cgroup/cpuset/cpuset.mems >"/sys/fs/cgroup/cpuset/$CLUSTER-node$i/cpuset.mems"
  fi
  cat >"$N/init.sh" <<EOF
mount --make-rshared /
mkdir -p /run/netns /run/containerd && mount -t tmpfs none /run/netns && mount -t tmpfs none /run/containerd   # CNI and shim files stay in this node
for own in log/pods odigos; do mkdir -p $N/var/\$own /var/\$own && mount --bind $N/var/\$own /var/\$own; done   # each node has its own
containerd -c $N/containerd.toml >$N/log/containerd.log 2>&1 &
for _ in \$(seq 100); do ctr -a $N/containerd.sock version >/dev/null 2>&1 && break; sleep 0.1; done
# One path on every node. Not the usual one: there the kubelet would ask for each container that ended with its node, three seconds each.
mkdir -p /run/containerd/own && touch /run/containerd/own/containerd.sock && mount --bind $N/containerd.sock /run/containerd/own/containerd.sock
ctr -a $N/containerd.sock -n $CTR_NS images import $RUN/pause.tar
$BIN/kube-proxy --config=$N/proxy.yaml >$N/log/kube-proxy.log 2>&1 &
exec $BIN/kubelet --config=$N/kubelet.yaml --kubeconfig=$RUN/n$i.kubeconfig --hostname-override=n$i --node-ip=10.77.0.1$i --root-dir=$N/kubelet --v=2 >$N/log/kubelet.log 2>&1
EOF
  # nsenter, not `ip netns exec`: the latter remounts /sys and hides the cgroups. --kill-child: the whole node goes with its first process
  setsid nohup nsenter --net="/run/netns/$CLUSTER-n$i" unshare --mount --pid --fork --kill-child --mount-proc bash "$N/init.sh" >"$N/log/init.log" 2>&1 </dev/null &
  echo $! >"$RUN/node$i.pid"
}

case ${1:-} in
up)
  count=${2:-2}; [ ! -d "$RUN" ] || { echo "already up (or not cleaned up): $RUN" >&2; exit 1; }
  mkdir -p "$RUN"/{pki,log}; network "$count"; certificates "$count"; control_plane; pause_image
  for i in $(seq "$count"); do node "$i"; done
  for i in $(seq "$count"); do wait_for "node n$i" 120 kubectl wait --for=condition=Ready "node/n$i" --timeout=1s; done
  kubectl get nodes;;
down)
  for pid in "$RUN"/node*.pid; do [ -f "$pid" ] && kill -9 "$(cat "$pid")" 2>/dev/null || true; done # unshare ignores SIGTERM; its child dies with it
  sleep 1
  for pid in "$RUN"/*.pid; do [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true; done
  # An API server that has lost its etcd first would end when it pleases.
  for pid in "$RUN"/*.pid; do
    [ -f "$pid" ] || continue
    for _ in $(seq 50); do kill -0 "$(cat "$pid")" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$(cat "$pid")" 2>/dev/null || true
  done
  for _ in $(seq 20); do grep -q " $RUN/" /proc/mounts || break; awk -v r="$RUN/" 'index($2,r)==1{print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true; sleep 0.2; done
  for ns in $(ip netns list | awk -v own="$CLUSTER-" 'index($1,own)==1{print $1}'); do ip netns del "$ns"; done
  # What the kernel still takes out of a process (uprobes: some seconds for each) holds its group; the next cluster wants the names.
  for _ in $(seq 60); do
    for cgroup in $(find /sys/fs/cgroup/ -depth -type d -path "*/$CLUSTER-node*" 2>/dev/null); do rmdir "$cgroup" 2>/dev/null || true; done
    find /sys/fs/cgroup/ -maxdepth 3 -type d -path "*/$CLUSTER-node*" 2>/dev/null | grep -q . || break
    sleep 0.5
  done
  rm -rf "$RUN"
  # A folder that goes takes the mounts on it along, and nodes of another cluster have theirs there.
  grep -qsE ' /var/(log/pods|odigos) ' /proc/[0-9]*/mounts || rmdir /var/log/pods /var/odigos 2>/dev/null || true;;
images)
  into=$2; shift 2; mkdir -p "$into/containerd"
  cat >"$into/containerd.toml" <<EOF
version = 2
root = "$into/containerd"
state = "$into/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$into/containerd.sock"
EOF
  containerd -c "$into/containerd.toml" >"$into/containerd.log" 2>&1 & importer=$!
  trap 'kill "$importer" 2>/dev/null; wait "$importer" 2>/dev/null || true' EXIT
  wait_for "containerd for images (log in $into)" 10 ctr -a "$into/containerd.sock" version
  # Two at a time: one unpacks while another waits for the disk.
  printf '%s\0' "$@" | xargs -0 -P2 -n1 ctr -a "$into/containerd.sock" -n $CTR_NS images import >/dev/null;;
load)
  loading=()
  for i in $(nodes); do ctr -a "$RUN/node$i/containerd.sock" -n $CTR_NS images import "$2" >/dev/null & loading+=($!); done
  for pid in "${loading[@]}"; do wait "$pid"; done;;
node-stop) # its processes go with the first of them; what was in its memory is gone, its disk stays
  kill -9 "$(cat "$RUN/node$2.pid")"; rm -f "$RUN/node$2.pid"
  for _ in $(seq 50); do [ -d "$RUN/node$2/state" ] || break; rm -rf "$RUN/node$2/state" 2>/dev/null || true; sleep 0.1; done
  ip -n "$CLUSTER-n$2" link del cni0 2>/dev/null || true; rm -rf "$RUN/node$2/ipam" "$RUN/node$2/containerd.sock"*;;
node-start) node "$2";;
api-stop) kill "$(cat "$RUN/apiserver.pid")"; while kill -0 "$(cat "$RUN/apiserver.pid")" 2>/dev/null; do sleep 0.1; done;;
api-start) api_server; wait_for "API server" 120 kubectl get --raw /readyz;;
policies-start)
  command -v python3 >/dev/null || { echo "python3 is missing: apt-get install python3" >&2; exit 1; }
  rm -f "$RUN/policies.ready"
  start policies python3 "$HERE/policies.py" "$HERE/cluster.sh kubectl" "$RUN/policies.ready" $(nodes | sed 's/^/n/')
  wait_for "policies are enforced" 60 test -s "$RUN/policies.ready";;
policies-stop)
  kill "$(cat "$RUN/policies.pid")" 2>/dev/null || true; rm -f "$RUN/policies.pid" "$RUN/policies.ready"
  for i in $(nodes); do
    nsenter --net="/run/netns/$CLUSTER-n$i" iptables -D FORWARD -j ODG-POLICIES 2>/dev/null || true
    nsenter --net="/run/netns/$CLUSTER-n$i" iptables -F ODG-POLICIES 2>/dev/null || true
  done;;
kubectl) shift; kubectl "$@";;
exec) shift; $CP env KUBECONFIG="$RUN/admin.kubeconfig" PATH="$BIN:$PATH" "$@";;
*) sed -n '2,20p' "$0"; exit 2;;
esac
